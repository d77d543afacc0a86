//! The page's own thread never does much at a time, so that it answers at once whatever the engine does.

use e2e::trace::Task;
use serde_json::json;

use crate::visit::{LOADING, Outcome, RUN, SOON, Visit, fill, load, questions, seed};

/// What the browser calls a long task, in milliseconds.
const LONG: f64 = 50.0;

fn mark(visit: &Visit, name: &str) -> Outcome {
    let session = &visit.browser.session;
    session.script("performance.mark(arguments[0])", json!([name]))?;
    Ok(())
}

fn long_ones(tasks: &[Task]) -> Vec<Task> {
    let is_long = |task: &&Task| task.cpu_millis > LONG;
    tasks.iter().filter(is_long).copied().collect()
}

/// From the model to an answer, with a step and an evaluation every few moments.
#[test]
fn the_page_does_little_at_a_time() -> Outcome {
    let Some(visit) = Visit::start_traced("smooth")? else {
        return Ok(());
    };
    let page = visit.page()?;
    let dataset = visit.write("questions.jsonl", questions(40, seed()))?;
    mark(&visit, "begin")?;
    load(&page, &dataset)?;
    fill(
        &page,
        &[
            ("Max steps", "8"),
            ("Batch size", "1"),
            ("Sequence length", "48"),
        ],
    )?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    page.fill("Prompt", "Where is the red kettle 42?")?;
    page.fill("Max new tokens", "8")?;
    page.press("Generate")?;
    page.wait_until_enabled("Generate", LOADING)?;
    page.press("Download adapter")?;
    visit.browser.downloaded(".zip", SOON)?;
    mark(&visit, "end")?;

    // What the test must see, lest it sees nothing.
    let busy = "const start = performance.now(); while (performance.now() - start < 400) {}";
    visit.browser.session.script(busy, json!([]))?;
    mark(&visit, "after")?;

    let log = visit.browser.record()?;
    let tasks = log.tasks_between("begin", "end")?;
    let cpu: f64 = tasks.iter().map(|task| task.cpu_millis).sum();
    let longest = |of: fn(&Task) -> f64| tasks.iter().map(of).fold(0.0, f64::max);
    println!(
        "{} tasks, {cpu:.0} ms in all; the longest took {:.1} ms of the processor, and the slowest lasted {:.1} ms",
        tasks.len(),
        longest(|task| task.cpu_millis),
        longest(|task| task.wall_millis),
    );
    let long = long_ones(&tasks);
    assert!(long.is_empty(), "long tasks: {long:#?}");
    assert_eq!(
        long_ones(&log.tasks_between("end", "after")?).len(),
        1,
        "a long task is seen"
    );
    page.expect_quiet_console()?;
    Ok(())
}
