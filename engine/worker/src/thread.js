// A thread of the CPU engine (engine/worker/src/threads.rs): another instance of the engine's program, on its memory.
import { fail, hold } from "./worker_life.js";

self.onmessage = async ({ data: { program, module, memory, channel, index } }) => {
  // The engine may be waiting for this very thread and receive no events; the page listens here, where there are such channels.
  const tell = (message) => {
    if (self.BroadcastChannel) new BroadcastChannel(channel).postMessage(`a thread ended: ${message}`);
  };
  // A panic reports itself before the program traps; the trap alone would pass for a lack of memory.
  self.onerror = tell;
  try {
    await hold(`${channel}-thread-${index}`);
    const engine = await import(program);
    await engine.default({ module_or_path: module, memory });
    self.postMessage("loaded");
    engine.run_thread();
  } catch (error) {
    tell(error.message ?? error);
    fail(error);
  }
};
