// Loads the page, or says why it does not. A script of its own, so that the Content-Security-Policy needs no exception for
// inline ones. Where not even this script arrives, index.html says so by itself after a while.

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

// Why the page does not start, and what to do about it.
class Trouble extends Error {
  constructor(what, remedy, cause) {
    super(what, { cause });
    this.remedy = remedy;
  }
}

const CONNECTION =
  "Check the connection, then reload the page. If that doesn't help, the file is missing on the server, or something in this browser blocks it.";
const BROWSER = "Use a current version of Chrome, Edge, Firefox or Safari, and allow WebAssembly for this page.";
const SERVER =
  "Reload the page. If that doesn't help, some of its files are missing or damaged on the server, and whoever runs it should copy all of them there again.";

// The function of app.js that starts the program.
async function script() {
  try {
    return (await import("./app.js")).default;
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new Trouble("This browser can't read the page's script, app.js.", BROWSER, error);
    }
    throw new Trouble("The page's script, app.js, could not be loaded.", CONNECTION, error);
  }
}

// The server's answer with the program, which is compiled while it arrives.
async function program(cache) {
  let answer;
  try {
    answer = await fetch(new URL("./app_bg.wasm", import.meta.url), { cache });
  } catch (error) {
    throw new Trouble("The page's program, app_bg.wasm, could not be loaded.", CONNECTION, error);
  }
  if (answer.ok) return answer;
  throw new Trouble(`The server answered ${answer.status} instead of the page's program, app_bg.wasm.`, SERVER);
}

async function start() {
  if (typeof WebAssembly !== "object") {
    throw new Trouble("This browser has no WebAssembly, or it is turned off.", BROWSER);
  }
  const [init, answer] = await Promise.all([script(), program("default")]);
  try {
    try {
      await init({ module_or_path: answer });
    } catch (error) {
      if (!(error instanceof WebAssembly.CompileError)) throw error;
      // It may be what the browser kept that is damaged.
      await init({ module_or_path: await program("reload") });
    }
  } catch (error) {
    if (error instanceof Trouble) throw error;
    if (error instanceof WebAssembly.CompileError) {
      throw new Trouble("The page's program, app_bg.wasm, is damaged, or this browser can't run it.", `${SERVER} ${BROWSER}`, error);
    }
    if (error instanceof WebAssembly.LinkError) {
      throw new Trouble("The page's files don't fit together: they are from two versions.", SERVER, error);
    }
    if (error instanceof TypeError || error instanceof DOMException) {
      throw new Trouble("The page's program, app_bg.wasm, did not arrive whole.", CONNECTION, error);
    }
    throw error;
  }
}

// Ends "The page is loading". What the browser itself says is for the console.
function giveUp(error) {
  console.error(error, error.cause ?? "");
  const isKnown = error instanceof Trouble;
  const remedy = "Reload the page. If that doesn't help, this is a bug in Inlay: please report it with what the browser's console says.";
  const texts = {
    loading: "",
    "trouble-what": isKnown ? error.message : "The page's program stopped while it was starting.",
    "trouble-remedy": isKnown ? error.remedy : remedy,
  };
  for (const [id, text] of Object.entries(texts)) {
    const place = document.getElementById(id);
    if (place) place.textContent = text;
  }
  const trouble = document.getElementById("trouble");
  trouble?.classList.remove("late");
  trouble?.setAttribute("role", "alert");
}

try {
  if (await canBeIsolated()) {
    location.reload();
  } else {
    await start();
  }
} catch (error) {
  giveUp(error);
}
