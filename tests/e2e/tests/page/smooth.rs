//! The page's own thread never does much at a time, so it responds at once, whatever the engine is doing.

use std::time::Instant;

use e2e::trace::{Record, Task};
use serde_json::json;

use crate::visit::{LOADING, Outcome, RUN, SOON, Visit, fill, load, questions, seed};

/// What the browser calls a long task, in milliseconds.
const LONG: f64 = 50.0;

/// What the page's thread did so far.
pub struct Trace<'a> {
    visit: &'a Visit,
    pub record: Record,
}

impl<'a> Trace<'a> {
    pub fn of(visit: &'a Visit) -> Self {
        Self {
            visit,
            record: Record::default(),
        }
    }

    /// Marks this moment, and collects the trace up to it: the browser's buffer must not fill, or something would be
    /// lost.
    pub fn mark(&mut self, name: &str) -> Outcome {
        let browser = &self.visit.browser;
        let script = "performance.mark(arguments[0])";
        browser.session.script(script, json!([name]))?;
        let start = Instant::now();
        // The driver hands out so many lines at a time.
        while self.record.mark(name).is_err() && start.elapsed() < SOON {
            browser.collect_trace(&mut self.record)?;
        }
        self.record.mark(name)?;
        Ok(())
    }
}

pub fn long_ones(tasks: &[Task]) -> Vec<Task> {
    let is_long = |task: &&Task| task.cpu_millis > LONG;
    tasks.iter().filter(is_long).copied().collect()
}

/// What they took, in words.
pub fn told(tasks: &[Task]) -> String {
    let cpu: f64 = tasks.iter().map(|task| task.cpu_millis).sum();
    let longest = |of: fn(&Task) -> f64| tasks.iter().map(of).fold(0.0, f64::max);
    format!(
        "{} tasks, {cpu:.0} ms in all; the longest took {:.1} ms of the processor, and the slowest lasted {:.1} ms",
        tasks.len(),
        longest(|task| task.cpu_millis),
        longest(|task| task.wall_millis),
    )
}

/// From the model to an answer, with a step and an evaluation every few moments.
#[test]
fn the_page_does_little_at_a_time() -> Outcome {
    let Some(visit) = Visit::start_traced("smooth")? else {
        return Ok(());
    };
    let page = visit.page()?;
    let dataset = visit.write("questions.jsonl", questions(40, seed()))?;
    let mut trace = Trace::of(&visit);
    trace.mark("begin")?;
    load(&page, &dataset)?;
    trace.mark("loaded")?;
    fill(
        &page,
        &[
            ("Max steps", "8"),
            ("Batch size", "1"),
            ("Sequence length", "48"),
        ],
    )?;
    page.press("Start training")?;
    trace.mark("started")?;
    page.wait_for_status(&["Finished"], RUN)?;
    trace.mark("trained")?;
    page.type_by_key("Prompt", "Where is the red kettle 42?")?;
    page.fill("Max new tokens", "8")?;
    page.press("Generate")?;
    page.wait_until_enabled("Generate", LOADING)?;
    trace.mark("answered")?;
    page.press("Download adapter")?;
    visit.browser.downloaded(".zip", SOON)?;
    trace.mark("end")?;

    // The test must notice this task; otherwise it would notice nothing.
    let busy = "const start = performance.now(); while (performance.now() - start < 400) {}";
    visit.browser.session.script(busy, json!([]))?;
    trace.mark("after")?;

    let tasks = trace.record.tasks_between("begin", "end")?;
    println!("{}", told(&tasks));
    let long = long_ones(&tasks);
    assert!(long.is_empty(), "long tasks: {long:#?}");
    let after = trace.record.tasks_between("end", "after")?;
    assert_eq!(long_ones(&after).len(), 1, "a long task is seen");
    page.expect_quiet_console()?;
    Ok(())
}
