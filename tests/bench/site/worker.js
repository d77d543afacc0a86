// What the workers of all sides share: calls come as { id, call, args }, answers go as { id, value } or { id, error }.

/** Answers calls with the functions of `calls`. */
export function serve(calls) {
  self.onmessage = async ({ data: { id, call, args } }) => {
    try {
      self.postMessage({ id, value: (await calls[call](...args)) ?? null });
    } catch (error) {
      self.postMessage({ id, error: String(error?.stack ?? error) });
    }
  };
}

/** Runs `once` so often that it takes `leastSecs` in all, and gives the seconds of one. */
export async function timed(once, times = 1) {
  const start = performance.now();
  await once(times);
  return (performance.now() - start) / 1000 / times;
}
