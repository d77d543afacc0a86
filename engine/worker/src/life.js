// The first script of every worker: lets the page hear of the worker's death, however it dies, and of its silence.
//
// The program may die where no event leaves the worker: a trap in a promise is a rejection that stays inside, and a worker
// that closes, or that the browser ends, says nothing at all. So rejections become errors, which the page hears; a lock is
// held as long as the worker lives, and the page waits for it; and the page's pings are answered from here.
const LOCK_PATIENCE_MILLIS = 2000;

self.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  fail(event.reason);
});

self.addEventListener("message", (event) => {
  if (event.data?.ping === undefined) return;
  event.stopImmediatePropagation();
  self.postMessage({ pong: event.data.ping });
});

/** Raises an error that the page hears. */
export function fail(error) {
  if (self.reportError) self.reportError(error);
  else setTimeout(() => { throw error; });
}

/** Holds the lock of this name as long as the worker lives; tells whether it does, as some browsers have no locks. */
export async function hold(name) {
  if (!name || !self.navigator?.locks) return false;
  const held = new Promise((resolve) => {
    navigator.locks
      .request(name, () => {
        resolve(true);
        return new Promise(() => {});
      })
      .catch(() => resolve(false));
  });
  const late = new Promise((resolve) => setTimeout(resolve, LOCK_PATIENCE_MILLIS, false));
  return Promise.race([held, late]);
}

/** Starts the program of this module. */
export async function live(program) {
  if (await hold(self.name)) self.postMessage({ alive: true });
  try {
    const { default: init } = await import(program);
    await init();
  } catch (error) {
    fail(error);
  }
}
