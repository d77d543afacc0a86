// jax-js's side of the bench. `?device=wasm` or `webgpu`.

import * as jax from "./peers/jax/index.js";
import { JaxStep } from "./jax_step.js";
import { SHAPES, drawProduct, errorOfProduct } from "./shape.js";
import { serve, timed } from "./worker.js";

const device = new URL(self.location).searchParams.get("device");
const np = jax.numpy;
let work;

/** `run(times)` computes so many products and resolves when all are done. */
function makeProduct(spec) {
  const { lhs, rhs } = drawProduct(spec);
  const [a, b] = [lhs, rhs].map(({ values, dims }) => {
    const array = np.array(values, { shape: dims });
    return spec.weights === "f16" ? array.astype(np.float16) : array;
  });
  const multiply = jax.jit((a, b) => {
    const left = spec.transposed === "lhs" ? a.transpose() : a;
    const right = spec.transposed === "rhs" ? b.transpose() : b;
    return np.matmul(left, right);
  });
  return {
    async run(times) {
      const products = Array.from({ length: times }, () => multiply(a.ref, b.ref));
      await Promise.all(products.map((product) => product.blockUntilReady()));
      products.forEach((product) => product.dispose());
    },
    async check() {
      return { error: errorOfProduct(spec, lhs, rhs, await multiply(a.ref, b.ref).data()) };
    },
    dispose() {
      [a, b, multiply].forEach((it) => it.dispose());
    },
  };
}

function makeStep(spec) {
  const step = new JaxStep(jax, SHAPES[spec.shape], spec);
  const losses = [];
  return {
    async run(times) {
      for (let at = 0; at < times; at++) losses.push(await step.run());
    },
    check: () => ({ losses }),
    dispose: () => step.dispose(),
  };
}

serve({
  async start() {
    const available = await jax.init(device);
    if (!available.includes(device)) throw new Error(`jax-js has no ${device} here: ${available}`);
    jax.defaultDevice(device);
    return { threads: device === "wasm" && self.crossOriginIsolated ? navigator.hardwareConcurrency : 1 };
  },
  prepare(spec) {
    work?.dispose();
    work = spec.kind === "matmul" ? makeProduct(spec) : makeStep(spec);
  },
  run: (times) => timed((times) => work.run(times), times),
  check: () => work.check(),
  end() {
    work?.dispose();
    work = undefined;
  },
});
