// Loads the page. A script of its own, so that the Content-Security-Policy needs no exception for inline ones.
import init from "./app.js";

await init({ module_or_path: new URL("./app_bg.wasm", import.meta.url) });
