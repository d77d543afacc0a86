// The bench's page: starts a worker for each side and passes calls on, for the driver to send and to ask after.

const workers = new Map();
// The calls under way: each with its worker, its promise and what settles it.
const calls = new Map();
let nextId = 0;

window.bench = {
  /** Sends a call to the side whose worker is `script`, started if it is not there; gives the call's number. */
  send(script, call, args) {
    if (!workers.has(script)) {
      const worker = new Worker(script, { type: script.includes("tfjs") ? "classic" : "module", name: script });
      worker.onmessage = ({ data: { id, ...answer } }) => calls.get(id)?.resolve(answer);
      worker.onerror = (event) => {
        const error = `${script}: ${event.message ?? "did not start"}`;
        for (const call of calls.values()) if (call.worker === worker) call.resolve({ error });
      };
      workers.set(script, worker);
    }
    nextId += 1;
    const worker = workers.get(script);
    let resolve;
    const promise = new Promise((settle) => (resolve = settle));
    calls.set(nextId, { worker, promise, resolve });
    worker.postMessage({ id: nextId, call, args });
    return nextId;
  },
  /** The answer to a call; null where there is none within `millis`. Nothing is polled, so that nothing is disturbed. */
  async wait(id, millis) {
    const late = new Promise((resolve) => setTimeout(resolve, millis, null));
    const answer = await Promise.race([calls.get(id).promise, late]);
    if (answer) calls.delete(id);
    return answer;
  },
  /** Ends a side's worker, whatever it does. */
  end(script) {
    workers.get(script)?.terminate();
    workers.delete(script);
  },
};
document.title = "Bench: ready";
