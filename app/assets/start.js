// Loads the page. A script of its own, so that the Content-Security-Policy needs no exception for inline ones.
import init from "./app.js";

// The chosen theme, before the first line of the page proper; app/src/components/theme_toggle.rs writes it.
try {
  const theme = localStorage.getItem("inlay-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Storage is forbidden: the system's theme it is.
}

await init({ module_or_path: new URL("./app_bg.wasm", import.meta.url) });
