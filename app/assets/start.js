// Loads the page. A script of its own, so that the Content-Security-Policy needs no exception for inline ones.
import init from "./app.js";

// The chosen theme, before the first line of the page proper; app/src/components/theme_toggle.rs writes it.
try {
  const theme = localStorage.getItem("inlay-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Storage is forbidden: the system's theme it is.
}

// Set while a reload is to make the page isolated, so that one that did not help is not followed by another.
const TRIED = "inlay-isolation-tried";
const PATIENCE_MILLIS = 5000;

// Where the server does not isolate the page, a service worker does, from the next load on. Tells whether to reload.
async function canBeIsolated() {
  try {
    if (self.crossOriginIsolated) {
      sessionStorage.removeItem(TRIED);
      return false;
    }
    if (!self.isSecureContext || sessionStorage.getItem(TRIED)) return false;
    const registered = navigator.serviceWorker.register(new URL("./isolate.js", import.meta.url));
    const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MILLIS));
    if (!(await Promise.race([registered.then(() => navigator.serviceWorker.ready), late]))) return false;
    sessionStorage.setItem(TRIED, "yes");
    return true;
  } catch {
    // No service workers, or no storage to guard against endless reloads with: one thread it is, and the page says so.
    return false;
  }
}

if (await canBeIsolated()) {
  location.reload();
} else {
  await init({ module_or_path: new URL("./app_bg.wasm", import.meta.url) });
}
