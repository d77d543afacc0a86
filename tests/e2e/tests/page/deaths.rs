//! The engine dies, in every way that a worker can, whatever it is at: the page hears of it, and goes on with what it had.

use std::error::Error;
use std::time::{Duration, Instant};

use e2e::page::{Page, Seen};
use serde_json::json;

use crate::lacking::visit_with;
use crate::visit::{
    LOADING, Outcome, RUN, SOON, Visit, adapter, dismiss_messages, fill, is_drill, picture,
    sentences, tiny_model, wait_for_adapters,
};

/// A death is heard within this time where the machine is not busy with something else, as in a drill.
const HEARD: Duration = Duration::from_secs(5);

/// Runs in the page and in every worker before their own scripts: lets the test kill the engine, and slow its reading down.
const SCRIPT: &str = r#"
    const channel = new BroadcastChannel("test");
    if (self.WorkerGlobalScope) {
      if (self.location.pathname.includes("worker_cpu")) {
        const program = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11]);
        const deep = (depth) => deep(depth + 1) + 1;
        const later = (die) => Promise.resolve().then(die);
        const ways = {
          error: () => { throw new Error("thrown by the test"); },
          rejection: () => { Promise.reject(new Error("rejected by the test")); },
          trap: () => later(() => new WebAssembly.Instance(new WebAssembly.Module(program)).exports.f()),
          overflow: () => later(() => deep(0)),
          memory: () => later(() => new ArrayBuffer(2 ** 53 - 1)),
          close: () => self.close(),
          silence: () => { for (;;); },
        };
        let delay = 0;
        const arrayBuffer = Blob.prototype.arrayBuffer;
        Blob.prototype.arrayBuffer = async function () {
          await new Promise((resolve) => setTimeout(resolve, delay));
          return arrayBuffer.call(this);
        };
        channel.onmessage = ({ data }) => {
          if (typeof data === "number") delay = data;
          else ways[data]?.();
        };
      }
    } else {
      const Native = self.Worker;
      const workers = [];
      self.Worker = class extends Native {
        constructor(script, options) {
          super(script, options);
          if (String(script).includes("worker_cpu")) workers.push(this);
        }
      };
      self.tellEngine = (what) => channel.postMessage(what);
      // As the browser does to a worker where memory is short.
      self.endEngine = () => Native.prototype.terminate.call(workers.at(-1));
    }
"#;

/// The ways to die.
const WAYS: [&str; 8] = [
    "error",
    "rejection",
    "trap",
    "overflow",
    "memory",
    "close",
    "terminate",
    "silence",
];

/// What the engine is at when it dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Idle,
    Loading,
    Training,
    Answering,
}

const ALL: [At; 4] = [At::Idle, At::Loading, At::Training, At::Answering];

/// Every way once, each at something else; with `INLAY_DRILLS` all of them at everything, five times.
#[test]
fn an_engine_that_dies_is_heard_and_replaced() -> Outcome {
    let is_drill = is_drill();
    let Some(visit) = visit_with("deaths", SCRIPT)? else {
        return Ok(());
    };
    let page = visit.page()?;
    let dataset = visit.write("sentences.jsonl", sentences(40, 7))?;
    page.choose_files("Model files", &tiny_model()?)?;
    page.wait_for_text("SHA-256", LOADING)?;
    page.choose_files("Adapter files", &adapter("lora.all_linear")?)?;
    wait_for_adapters(&page, 1)?;
    page.choose_files("Dataset files", &[&dataset])?;
    page.wait_for_status(&["Ready"], LOADING)?;
    fill(
        &page,
        &[("Sequence length", "32"), ("Max new tokens", "2000")],
    )?;

    let deaths: Vec<(&str, At)> = if is_drill {
        let at = |way| ALL.map(|at| (way, at));
        let once: Vec<_> = WAYS.into_iter().flat_map(at).collect();
        once.repeat(5)
    } else {
        let at = WAYS.into_iter().zip(ALL.into_iter().cycle());
        at.collect()
    };
    for (way, at) in deaths {
        let heard =
            kill(&visit, &page, way, at).map_err(|error| format!("{way}, {at:?}: {error}"))?;
        println!("{way}, {at:?}: heard after {:.1} s", heard.as_secs_f64());
        assert!(!is_drill || heard < HEARD, "{way}, {at:?}: {heard:?}");
    }

    // After all of that, a run.
    dismiss_messages(&page)?;
    fill(&page, &[("Max steps", "3")])?;
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    Ok(())
}

/// Kills the engine; returns how long it took the page to hear of it, once everything is there again.
fn kill(visit: &Visit, page: &Page, way: &str, at: At) -> Result<Duration, Box<dyn Error>> {
    let script = |script: &str| visit.browser.session.script(script, json!([]));
    dismiss_messages(page)?;
    match at {
        At::Idle => {}
        At::Loading => {
            script("tellEngine(600)")?;
            page.choose_files("Model files", &tiny_model()?)?;
            page.wait_for_status(&["Loading model"], SOON)?;
        }
        At::Training => {
            fill(page, &[("Max steps", "100000")])?;
            page.wait_until_enabled("Start training", SOON)?;
            page.press("Start training")?;
            page.wait("a step", SOON, || {
                let loss = page.readout("Training loss")?;
                Ok(match loss {
                    Some(_) if page.status()?.contains("step ") => Seen::Yes(()),
                    _ => Seen::NotYet(format!("{loss:?}")),
                })
            })?;
        }
        At::Answering => {
            page.fill("Prompt", "Once upon a time")?;
            page.wait_until_enabled("Generate", SOON)?;
            page.press("Generate")?;
        }
    }
    let since = Instant::now();
    match way {
        "terminate" => script("endEngine()")?,
        way => script(&format!("tellEngine('{way}')"))?,
    };
    let said = match way {
        "error" => "thrown by the test",
        "rejection" => "rejected by the test",
        "trap" | "memory" => "The engine ran out of memory",
        "overflow" => "Maximum call stack size exceeded",
        "silence" => "has not answered for",
        _ => "The engine stopped without a message",
    };
    page.wait(said, SOON, || {
        let body = page.body_text()?;
        Ok(if body.contains(said) {
            Seen::Yes(())
        } else {
            Seen::NotYet(body)
        })
    })?;
    let heard = since.elapsed();
    if way == "silence" {
        picture(page, "engine-silent")?;
        page.press("Restart the engine")?;
    } else if at == At::Training {
        picture(page, "engine-died")?;
    }
    page.wait("the engine, the model and the data", LOADING, || {
        let status = page.status()?;
        let is_there = page.body_text()?.contains("SHA-256")
            && !["Loading model", "Reading data", "Training"]
                .iter()
                .any(|busy| status.starts_with(busy));
        Ok(if is_there {
            Seen::Yes(())
        } else {
            Seen::NotYet(status)
        })
    })?;
    wait_for_adapters(page, 1)?;
    Ok(heard)
}

/// What is under way ends when it is not wanted, and what was there before stays; an engine that does not even hear of it is
/// replaced.
#[test]
fn what_is_under_way_is_cancelled() -> Outcome {
    let Some(visit) = visit_with("cancelled", SCRIPT)? else {
        return Ok(());
    };
    let tell = |what: &str| {
        let session = &visit.browser.session;
        session.script(&format!("tellEngine({what})"), json!([]))
    };
    let page = visit.page()?;
    page.choose_files("Model files", &tiny_model()?)?;
    page.wait_for_text("SHA-256", LOADING)?;

    // Another model, which would take long.
    tell("500")?;
    page.choose_files("Model files", &tiny_model()?)?;
    page.wait_for_status(&["Loading model"], SOON)?;
    page.press("Cancel loading the model")?;
    page.wait_for_status(&["Idle", "Ready"], SOON)?;
    assert!(
        page.body_text()?.contains("SHA-256"),
        "the model is still there"
    );

    // The same while the engine is stuck: it is replaced, and has the model that it had.
    page.choose_files("Model files", &tiny_model()?)?;
    page.wait_for_status(&["Loading model"], SOON)?;
    tell("'silence'")?;
    page.press("Cancel loading the model")?;
    page.wait_for_text("the engine was stuck on", SOON)?;
    page.wait_for_text("SHA-256", LOADING)?;
    dismiss_messages(&page)?;

    // Data, while it is read or its tokens are counted: whatever is under way ends.
    let rows = visit.write("many.jsonl", sentences(60_000, 7))?;
    page.choose_files("Dataset files", &[&rows])?;
    page.wait_for_status(&["Reading data"], SOON)?;
    page.press("Cancel reading the data")?;
    page.wait_for_status(&["Idle", "Ready"], SOON)?;
    let few = visit.write("few.jsonl", sentences(20, 7))?;
    page.choose_files("Dataset files", &[&few])?;
    page.wait_for_status(&["Ready"], LOADING)?;
    page.expect_quiet_console()?;
    Ok(())
}
