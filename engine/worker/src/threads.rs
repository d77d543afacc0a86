//! The threads of the CPU engine: workers of this worker, each with its own instance of the program on the shared
//! memory.
//!
//! Crates that do this start their workers from a blob, which the page's policy (`worker-src 'self'`) forbids; ours
//! start from a file of the page, `thread.js`.

use std::rc::Rc;

use futures_channel::mpsc as messages;
use js_sys::{JsString, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::spawn_local;
use web_sys::{
    DedicatedWorkerGlobalScope, ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType,
};

use super::{message, timer::sleep};

/// With more threads than this, each has too little work in a model of this size.
const MAX_THREADS: usize = 16;
/// How long the threads may take to load the program, which the browser has compiled by then.
const PATIENCE_MILLIS: u32 = 10_000;
const SCRIPT: &str = "./worker_thread.js";

#[wasm_bindgen]
extern "C" {
    /// The address of the program's JavaScript, which each thread loads.
    #[wasm_bindgen(thread_local_v2, js_namespace = ["import", "meta"], js_name = url)]
    static PROGRAM_URL: JsString;
}

/// Runs a thread of the pool; called by `thread.js`. Does not return while the worker lives.
#[wasm_bindgen]
pub fn run_thread() {
    kernels::help();
}

/// Starts a thread for each core except this thread's; returns the total number of threads. Must be called once.
///
/// # Errors
/// What the browser says if a thread does not start, or that it takes too long.
pub async fn start(scope: &DedicatedWorkerGlobalScope) -> Result<usize, String> {
    // A whole number, at least 1.
    let num_threads = (scope.navigator().hardware_concurrency() as usize).clamp(1, MAX_THREADS);
    let (signals, mut signalled) = messages::unbounded();
    for index in 1..num_threads {
        open(scope, &signals, index).map_err(|error| message(&error))?;
    }
    let scope = scope.clone();
    spawn_local(async move {
        sleep(&scope, PATIENCE_MILLIS).await;
        // Nobody listens if all went well.
        let _ = signals.unbounded_send(Err("they take too long".to_owned()));
    });
    for _ in 1..num_threads {
        signalled
            .recv()
            .await
            .map_err(|_| "they stopped responding".to_owned())??;
    }
    Ok(num_threads)
}

type Signals = messages::UnboundedSender<Result<(), String>>;

/// Opens one thread's worker; it signals when it has loaded the program, or why it has not.
fn open(
    scope: &DedicatedWorkerGlobalScope,
    signals: &Signals,
    index: usize,
) -> Result<(), JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    let worker = Rc::new(Worker::new_with_options(SCRIPT, &options)?);
    let (loaded, failed) = (signals.clone(), signals.clone());
    // Held by the closure as long as the worker lives: a worker that nobody holds may be ended.
    let held = worker.clone();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |_| {
        let _ = (&held, loaded.unbounded_send(Ok(())));
    });
    let on_error = Closure::<dyn FnMut(ErrorEvent)>::new(move |error: ErrorEvent| {
        // A script that does not load raises a plain event without a message.
        let said = Reflect::get(&error, &"message".into()).ok();
        let said = said.and_then(|said| said.as_string());
        let _ = failed.unbounded_send(Err(
            said.unwrap_or_else(|| format!("{SCRIPT} does not load"))
        ));
    });
    worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
    on_message.forget();
    on_error.forget();
    let start = Object::new();
    Reflect::set(&start, &"program".into(), &PROGRAM_URL.with(Clone::clone))?;
    Reflect::set(&start, &"module".into(), &wasm_bindgen::module())?;
    Reflect::set(&start, &"memory".into(), &wasm_bindgen::memory())?;
    // Where the page listens, even while the engine waits for its threads.
    Reflect::set(&start, &"channel".into(), &scope.name().into())?;
    Reflect::set(&start, &"index".into(), &(index as u32).into())?;
    worker.post_message(&start)
}
