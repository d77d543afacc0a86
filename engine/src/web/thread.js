// A thread of the CPU engine (engine/src/web/threads.rs): the engine's program once more, on the engine's memory.
self.onmessage = async ({ data: { program, module, memory, channel } }) => {
  try {
    const engine = await import(program);
    await engine.default({ module_or_path: module, memory });
    self.postMessage("loaded");
    engine.run_thread();
  } catch (error) {
    // The engine may be waiting for this very thread, deaf to events; the page listens here.
    new BroadcastChannel(channel).postMessage(`a thread ended: ${error.message ?? error}`);
    // As an event that the engine hears of; a rejection would stay in here.
    reportError(error);
  }
};
