// A thread of the CPU engine (engine/src/web/threads.rs): another instance of the engine's program, on its memory.
self.onmessage = async ({ data: { program, module, memory, channel } }) => {
  // A panic reports itself before the program traps; the trap alone would pass for a lack of memory.
  self.onerror = (message) => {
    new BroadcastChannel(channel).postMessage(`a thread ended: ${message}`);
  };
  try {
    const engine = await import(program);
    await engine.default({ module_or_path: module, memory });
    self.postMessage("loaded");
    engine.run_thread();
  } catch (error) {
    // The engine may be waiting for this very thread and receive no events; the page listens here, where there are such channels.
    if (self.BroadcastChannel) new BroadcastChannel(channel).postMessage(`a thread ended: ${error.message ?? error}`);
    // An event reaches the engine; a rejection would stay in here.
    reportError(error);
  }
};
