// The limits of the GPU as the browser gives it: a kernel that only multiplies and adds, in registers, and one that
// only copies. Raw WGSL, so that no library stands between.

import { serve, timed } from "./worker.js";

const INVOCATIONS = 256;
const CHAINS = 8;

/** Each invocation keeps `CHAINS` vectors in registers and multiplies and adds them `rounds` times. */
const multiplyAdd = (type, rounds) => `
  ${type === "f16" ? "enable f16;" : ""}
  @group(0) @binding(0) var<storage, read_write> result: array<vec4<${type}>>;
  @compute @workgroup_size(${INVOCATIONS})
  fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    // From memory, so that nothing is known when the shader is compiled.
    let a = result[id.x];
    ${Array.from({ length: CHAINS }, (_, at) => `var s${at} = a + vec4<${type}>(${at});`).join("\n    ")}
    for (var round = 0; round < ${rounds}; round++) {
      ${Array.from({ length: CHAINS }, (_, at) => `s${at} = fma(s${at}, a, a);`).join("\n      ")}
    }
    result[id.x] = ${Array.from({ length: CHAINS }, (_, at) => `s${at}`).join(" + ")};
  }`;

const copy = `
  @group(0) @binding(0) var<storage, read_write> result: array<vec4<f32>>;
  @group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
  @compute @workgroup_size(${INVOCATIONS})
  fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let stride = groups.x * ${INVOCATIONS};
    for (var at = id.x; at < arrayLength(&source); at += stride) { result[at] = source[at]; }
  }`;

let device, work;

function makeKernel(code, buffers, groups) {
  const module = device.createShaderModule({ code });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const bindings = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  return async (times) => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindings);
    for (let at = 0; at < times; at++) pass.dispatchWorkgroups(groups);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
  };
}

function buffer(bytes) {
  return device.createBuffer({ size: bytes, usage: GPUBufferUsage.STORAGE });
}

/** `limit` is "multiply-add" or "copy", `size` the rounds of one and the bytes of the other. */
function makeWork({ limit, type, size }) {
  device.pushErrorScope("validation");
  if (limit === "copy") {
    const buffers = [buffer(size), buffer(size)];
    return { run: makeKernel(copy, buffers, 4096), amount: 2 * size, dispose: () => buffers.forEach((it) => it.destroy()) };
  }
  const groups = 1024;
  const lanes = groups * INVOCATIONS * 4;
  const result = buffer(lanes * 4);
  const amount = 2 * CHAINS * size * lanes;
  return { run: makeKernel(multiplyAdd(type, size), [result], groups), amount, dispose: () => result.destroy() };
}

serve({
  async start() {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new Error("there is no WebGPU adapter");
    const hasF16 = adapter.features.has("shader-f16");
    const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
    device = await adapter.requestDevice({
      requiredFeatures: hasF16 ? ["shader-f16"] : [],
      requiredLimits: { maxStorageBufferBindingSize, maxBufferSize },
    });
    const { vendor, architecture, device: name, description, isFallbackAdapter } = adapter.info;
    return { vendor, architecture, device: name, description, isFallbackAdapter, hasF16, features: [...adapter.features] };
  },
  async prepare(spec) {
    work?.dispose();
    work = makeWork(spec);
    const error = await device.popErrorScope();
    if (error) throw new Error(error.message);
    // The work of one run: operations, or bytes read and written.
    return { amount: work.amount };
  },
  run: (times) => timed(work.run, times),
  check: () => ({}),
  end() {
    work?.dispose();
    work = undefined;
  },
});
