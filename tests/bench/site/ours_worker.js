// Our side of the bench, in a dedicated module worker as on the page. `?build=` names one of them.

import { SHAPES } from "./shape.js";
import { serve, timed } from "./worker.js";

const build = new URL(self.location).searchParams.get("build");
let bench;

// A turn of the event loop, after the messages that are waiting.
const { port1, port2 } = new MessageChannel();
const waiting = [];
port1.onmessage = () => waiting.shift()();
self.nextTurn = () =>
  new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(0);
  });

serve({
  async start(model) {
    const { default: init, Bench } = await import(`./ours/${build}/bench.js`);
    await init();
    bench = await Bench.open();
    if (model) {
      const file = await (await fetch(`models/${model}`)).blob();
      const read = async (from, length) => new Uint8Array(await file.slice(from, from + length).arrayBuffer());
      await bench.useModel(model, file.size, read);
    }
    return JSON.parse(bench.about());
  },
  async prepare(spec) {
    const amount = await bench.prepare(JSON.stringify({ ...spec, dimensions: SHAPES[spec.shape] }));
    return { amount };
  },
  run: (times) => timed((times) => bench.run(times), times),
  check: async () => JSON.parse(await bench.check()),
  memory: () => JSON.parse(bench.memory()),
  end: () => bench.end(),
});
