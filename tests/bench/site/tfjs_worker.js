// TensorFlow.js's side of the bench: products only. `?device=wasm` or `webgpu`. A classic worker, since that is how its
// bundles load; what it shares with the others is therefore imported when it starts.

importScripts("peers/tfjs/tf-core.min.js", "peers/tfjs/tf-backend-cpu.min.js");
importScripts("peers/tfjs/tf-backend-webgpu.min.js", "peers/tfjs/tf-backend-wasm.min.js");

const device = new URL(self.location).searchParams.get("device");
let shape, shared, work;

function makeProduct(spec) {
  const { lhs, rhs } = shape.drawProduct(spec);
  const [a, b] = [lhs, rhs].map(({ values, dims }) => tf.tensor2d(values, dims));
  const multiply = () => tf.matMul(a, b, spec.transposed === "lhs", spec.transposed === "rhs");
  return {
    async run(times) {
      for (let at = 1; at < times; at++) multiply().dispose();
      // The queue is in order, so that one number of the last product is there once all are done.
      const last = multiply();
      const corner = tf.slice(last, [0, 0], [1, 1]);
      await corner.data();
      [last, corner].forEach((tensor) => tensor.dispose());
    },
    async check() {
      const product = multiply();
      const error = shape.errorOfProduct(spec, lhs, rhs, await product.data());
      product.dispose();
      return { error };
    },
    dispose: () => [a, b].forEach((tensor) => tensor.dispose()),
  };
}

const calls = {
  async start() {
    tf.wasm.setWasmPaths("peers/tfjs/");
    tf.wasm.setThreadsCount(navigator.hardwareConcurrency);
    if (!(await tf.setBackend(device))) throw new Error(`TensorFlow.js has no ${device} here`);
    await tf.ready();
    return { threads: device === "wasm" ? tf.wasm.getThreadsCount() : 1 };
  },
  prepare(spec) {
    work?.dispose();
    work = makeProduct(spec);
  },
  run: (times) => shared.timed((times) => work.run(times), times),
  check: () => work.check(),
  end() {
    work?.dispose();
    work = undefined;
  },
};

// Calls that come before the modules are there wait for them.
const modules = Promise.all([import("./shape.js"), import("./worker.js")]);
self.onmessage = async (event) => {
  [shape, shared] = await modules;
  shared.serve(calls);
  self.onmessage(event);
};
