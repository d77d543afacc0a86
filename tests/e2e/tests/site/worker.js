onmessage = async () => {
  // Both shapes of a request: a whole file, and a part of it.
  await fetch("site.css?whole");
  const part = await fetch("site.css", { headers: { Range: "bytes=0-3" } });
  postMessage({ loss: `${(await part.text()).length}.25 (isolated: ${crossOriginIsolated})` });
};
