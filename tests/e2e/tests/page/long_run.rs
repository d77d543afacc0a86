//! A run of 250,000 steps leaves the page, its worker and the zip as one of 1,000 does.

use std::error::Error;
use std::time::{Duration, Instant};

use e2e::browser::Window;
use e2e::page::Page;
use serde_json::json;

use crate::visit::{
    LOADING, Outcome, SOON, Visit, fill, is_drill, log_lines, megabytes, sentences, tiny_model,
    unzipped,
};

/// The numbers of steps; the second one is enough for a log to be thinned.
const STEPS: [u64; 2] = [1_000, 6_000];
/// Those where `INLAY_DRILLS` is set.
const DRILL_STEPS: [u64; 3] = [1_000, 100_000, 250_000];
const PATIENCE: Duration = Duration::from_secs(3600);
/// The tab's title is looked at this seldom, since looking takes the page's time as well.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const TIMER_MILLIS: f64 = 50.0;
/// The end of a run is measured: this many rounds of the timer, or 20 seconds.
const ROUNDS: usize = 400;

/// What a run leaves.
struct Left {
    steps: u64,
    secs: f64,
    timer_median: f64,
    timer_p99: f64,
    worker_megabytes: f64,
    renderer_megabytes: u64,
    zip_bytes: u64,
    log_lines: usize,
}

impl Left {
    fn told(&self) -> String {
        format!(
            "{} steps in {:.0} s: a timer of {TIMER_MILLIS} ms took {:.1} ms (median) and {:.1} ms (99th percentile); the worker \
             holds {} MB, the renderer held {} MB at its peak; the zip has {} bytes, its log {} lines",
            self.steps,
            self.secs,
            self.timer_median,
            self.timer_p99,
            self.worker_megabytes,
            self.renderer_megabytes,
            self.zip_bytes,
            self.log_lines,
        )
    }
}

#[test]
fn a_long_run_leaves_the_page_as_a_short_one_does() -> Outcome {
    let Some(visit) = Visit::start("long_run", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    page.choose("Device", "cpu")?;
    page.wait_for_status(&["Idle"], LOADING)?;
    page.choose_files("Model files", &tiny_model()?)?;
    page.wait_for_text("SHA-256", LOADING)?;
    let dataset = visit.write("sentences.jsonl", sentences(20, 7))?;
    page.choose_files("Dataset files", &[&dataset])?;
    page.wait_for_status(&["Ready"], LOADING)?;
    let settings = [
        ("Batch size", "1"),
        ("Sequence length", "32"),
        ("Validation split", "0.1"),
        ("Rank", "1"),
    ];
    fill(&page, &settings)?;

    let is_drill = is_drill();
    let steps: &[u64] = if is_drill { &DRILL_STEPS } else { &STEPS };
    let mut all = Vec::new();
    for &steps in steps {
        let left = run(&visit, &page, steps)?;
        println!("{}", left.told());
        all.push(left);
    }
    let (Some(short), Some(long)) = (all.first(), all.last()) else {
        return Err("there was no run".into());
    };
    // Timers come late on a busy machine: only a drill has it for itself.
    assert!(
        !is_drill || long.timer_median < short.timer_median.max(TIMER_MILLIS) + 10.0,
        "the page's timers come late"
    );
    assert!(
        long.worker_megabytes < short.worker_megabytes + 8.0,
        "the worker grows"
    );
    assert!(long.zip_bytes < 1_000_000, "the zip grows");
    page.expect_quiet_console()?;
    Ok(())
}

fn run(visit: &Visit, page: &Page, steps: u64) -> Result<Left, Box<dyn Error>> {
    let session = &visit.browser.session;
    page.fill("Max steps", &steps.to_string())?;
    page.wait_until_enabled("Start training", SOON)?;
    session.script(
        "const rounds = []; window.timerRounds = rounds; let last = performance.now();
        window.timer = setInterval(() => {
            const now = performance.now();
            rounds.push(now - last);
            if (rounds.length > arguments[1]) rounds.shift();
            last = now;
        }, arguments[0]);",
        json!([TIMER_MILLIS, ROUNDS]),
    )?;
    let start = Instant::now();
    page.press("Start training")?;
    page.wait_for_status(&["Training", "Evaluating"], SOON)?;
    loop {
        let title = session.script("return document.title;", json!([]))?;
        let title = title.as_str().unwrap_or_default();
        if title.starts_with("Finished") {
            break;
        }
        if title.starts_with("Failed") || start.elapsed() > PATIENCE {
            return Err(format!("{steps} steps: {title}").into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let secs = start.elapsed().as_secs_f64();
    let rounds = session.script(
        "clearInterval(window.timer); return window.timerRounds;",
        json!([]),
    )?;
    let mut rounds: Vec<f64> = serde_json::from_value(rounds)?;
    rounds.sort_by(f64::total_cmp);
    let share = |share: f64| rounds.get((rounds.len() as f64 * share) as usize).copied();
    let memory = page.text("Memory in use")?;

    page.wait_until_enabled("Download adapter", SOON)?;
    page.press("Download adapter")?;
    let zip = visit.browser.downloaded(".zip", SOON)?;
    let zip_bytes = std::fs::metadata(&zip)?.len();
    let log = log_lines(&unzipped(&zip)?)?;
    // The next one gets the same name.
    std::fs::remove_file(&zip)?;
    let is_thinned = log.first().is_some_and(|line| line["type"] == "thinned");
    assert_eq!(is_thinned, steps > 4096, "{:?}", log.first());
    let last = log.iter().rev().find(|line| line["type"] != "evaluation");
    assert_eq!(last.map(|line| line["step"].as_u64()), Some(Some(steps)));
    Ok(Left {
        steps,
        secs,
        timer_median: share(0.5).ok_or("the timer never came")?,
        timer_p99: share(0.99).ok_or("the timer never came")?,
        worker_megabytes: megabytes(&memory)?,
        renderer_megabytes: visit.browser.peak_page_bytes()? / 1_000_000,
        zip_bytes,
        log_lines: log.len(),
    })
}
