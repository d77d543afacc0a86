// What the workers of all sides share: calls come as { id, call, args }, answers go as { id, value } or { id, error }.

// How often the GPU is given work: each dispatch costs it some microseconds, whatever it does.
let dispatches = 0;
let dispatchesOfRun;
const pass = self.GPUComputePassEncoder?.prototype;
for (const name of pass ? ["dispatchWorkgroups", "dispatchWorkgroupsIndirect"] : []) {
  const dispatch = pass[name];
  pass[name] = function (...sizes) {
    dispatches += 1;
    return dispatch.apply(this, sizes);
  };
}

/** Answers calls with the functions of `calls`. */
export function serve(calls) {
  self.onmessage = async ({ data: { id, call, args } }) => {
    try {
      let value = (await calls[call](...args)) ?? null;
      if (call === "check" && dispatchesOfRun) value = { ...value, dispatches: dispatchesOfRun };
      self.postMessage({ id, value });
    } catch (error) {
      self.postMessage({ id, error: String(error?.stack ?? error) });
    }
  };
}

/** Runs `once` so often that it takes `leastSecs` in all, and gives the seconds of one. */
export async function timed(once, times = 1) {
  const start = performance.now();
  const dispatchesBefore = dispatches;
  await once(times);
  const secs = (performance.now() - start) / 1000 / times;
  dispatchesOfRun = (dispatches - dispatchesBefore) / times;
  return secs;
}
