//! Files that were made to take all time or all memory: the page answers each of them soon or lets go of it, in bounded
//! memory, and works on as if it had never seen them.

mod adapters;
mod datasets;
mod models;
mod sizes;

use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::browser::Window;
use e2e::page::{Page, Seen};

use crate::visit::{
    LOADING, Outcome, RUN, SOON, Visit, dismiss_messages, fill, is_drill, questions, wait_for,
};

/// What the page has to answer within, or to let go of. Judged in drills only, since other tests keep a machine busy.
const IN_TIME: Duration = Duration::from_secs(5);
/// How long a person waits for an answer before they press Cancel.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a file may take besides four times its size, and what a browser takes for a worker and for looking at the page.
const FREE_BYTES: u64 = 64 << 20;
const BROWSER_BYTES: u64 = 96 << 20;

/// Where files are given to the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Model,
    Data,
    Try,
}

impl Step {
    fn input(self) -> &'static str {
        match self {
            Self::Model => "Model files",
            Self::Data => "Dataset files",
            Self::Try => "Adapter files",
        }
    }

    fn cancel(self) -> &'static str {
        match self {
            Self::Model => "Cancel loading the model",
            Self::Data => "Cancel reading the data",
            Self::Try => "Cancel loading the adapter",
        }
    }
}

/// How the page has to answer.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// It says these words.
    Says(&'static str),
    /// It takes long to come to these words: it says them, or lets go where Cancel is pressed.
    LongOr(&'static str),
    /// It takes far longer than anyone waits, and lets go.
    Cancelled,
}

use Answer::{Cancelled, LongOr, Says};

/// The files of one hostile input.
struct Input {
    name: &'static str,
    step: Step,
    answer: Answer,
    files: Box<dyn Fn(&Visit) -> Made>,
}

type Made = Result<Vec<PathBuf>, Box<dyn Error>>;

impl Input {
    fn new(
        step: Step,
        name: &'static str,
        answer: Answer,
        files: impl Fn(&Visit) -> Made + 'static,
    ) -> Self {
        Self {
            name,
            step,
            answer,
            files: Box::new(files),
        }
    }
}

/// Inputs that take what they take in the same way. The first is given in every run of the tests, all of them in a drill.
struct Kind {
    name: &'static str,
    inputs: Vec<Input>,
}

fn kind(name: &'static str, inputs: Vec<Input>) -> Kind {
    Kind { name, inputs }
}

#[test]
fn files_made_to_wedge_the_page_do_not() -> Outcome {
    let Some(visit) = Visit::start("stuck", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    // Conversations, which a model's template has to write.
    let few = visit.write("few.jsonl", questions(20, 7))?;
    page.choose_files("Dataset files", &[&few])?;
    page.wait_for_status(&["Ready", "Idle"], LOADING)?;
    page.press("Use the bundled model")?;
    page.wait_for_text("SHA-256", LOADING)?;

    let kinds = [
        models::kinds(),
        sizes::kinds(),
        adapters::kinds(),
        datasets::kinds(),
        // Last, since the model that is loaded then writes no conversation.
        vec![models::loaded()],
    ];
    let mut failures = Vec::new();
    for Kind { name, inputs } in kinds.into_iter().flatten() {
        println!("{name}");
        let count = if is_drill() { inputs.len() } else { 1 };
        for input in inputs.iter().take(count) {
            if let Err(error) = give(&visit, &page, input, &few) {
                println!("    FAILED: {error}");
                failures.push(format!("{name}, {}: {error}", input.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    // Without a reload, as if nothing had been.
    page.press("Use the bundled model")?;
    page.press("Load sample dataset")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    fill(
        &page,
        &[
            ("Max steps", "2"),
            ("Batch size", "1"),
            ("Sequence length", "64"),
        ],
    )?;
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    page.expect_quiet_console()?;
    Ok(())
}

/// Gives the page one input; it answers or lets go in time, and takes little memory.
fn give(visit: &Visit, page: &Page, input: &Input, few: &Path) -> Outcome {
    let files = (input.files)(visit)?;
    let mut num_bytes = 0;
    for file in &files {
        // Without its holes.
        num_bytes += 512 * std::fs::metadata(file)?.blocks();
    }
    let before = page.body_text()?;
    let (words, may_be_cancelled) = match input.answer {
        Says(words) => (Some(words), false),
        LongOr(words) => (Some(words), true),
        Cancelled => (None, true),
    };
    if words.is_some_and(|words| says(&before, words)) {
        return Err(format!("{words:?} is there before").into());
    }
    visit.browser.forget_peaks()?;
    let bytes_before = visit.browser.peak_page_bytes()?;
    let since = Instant::now();
    page.choose_files(input.step.input(), &files)?;
    let patience = match may_be_cancelled || is_drill() {
        true => PATIENCE,
        false => SOON,
    };
    let mut was_told = is_told(page, words, patience)?;
    let mut is_cancelled = false;
    if !was_told {
        if is_busy(page)? {
            let pressed = page.press(input.step.cancel());
            page.wait("the end of what was cancelled", SOON, || {
                Ok(match is_busy(page)? {
                    false => Seen::Yes(()),
                    true => Seen::NotYet(page.status()?),
                })
            })?;
            is_cancelled = pressed.is_ok();
        }
        // The answer may come just before the button is pressed, which is gone then.
        let patience = if is_cancelled { Duration::ZERO } else { SOON };
        was_told = is_told(page, words, patience)?;
    }
    let took = since.elapsed();
    let taken = visit.browser.peak_page_bytes()?;
    let taken = taken.saturating_sub(bytes_before);
    println!(
        "    {}: {num_bytes} bytes, {} after {:.1} s, {:.0} MB; {}",
        input.name,
        match (was_told, is_cancelled) {
            (true, _) => "told",
            (_, true) => "cancelled",
            _ => "NEITHER told nor cancelled",
        },
        took.as_secs_f64(),
        taken as f64 / 1e6,
        news(&before, &page.body_text()?),
    );
    // Nothing of the input is left that could be taken for an answer to the next one.
    dismiss_messages(page)?;
    if input.step == Step::Data {
        page.choose_files(input.step.input(), &[few])?;
        wait_for(page, "Dataset summary", &["20 rows"])?;
        page.wait_for_status(&["Ready"], LOADING)?;
    }
    let is_right = was_told || may_be_cancelled && is_cancelled;
    if !is_right {
        return Err(format!("{words:?} was not told").into());
    }
    if is_drill() && took > IN_TIME {
        return Err(format!("it took {took:?}").into());
    }
    let most = num_bytes
        .saturating_mul(4)
        .saturating_add(FREE_BYTES + BROWSER_BYTES);
    if taken > most {
        return Err(format!("{taken} bytes, more than {most}").into());
    }
    Ok(())
}

/// Whether the page says these words in time, and is at rest.
fn is_told(page: &Page, words: Option<&str>, patience: Duration) -> Result<bool, Box<dyn Error>> {
    let start = Instant::now();
    loop {
        let body = page.body_text()?;
        if words.is_some_and(|words| says(&body, words)) && !is_busy(page)? {
            return Ok(true);
        }
        if start.elapsed() > patience {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Sentences begin with a capital on the page.
fn says(page: &str, words: &str) -> bool {
    page.to_lowercase().contains(&words.to_lowercase())
}

fn is_busy(page: &Page) -> Result<bool, e2e::page::PageError> {
    let busy = ["Loading model", "Reading data", "Training", "Evaluating"];
    let status = page.status()?;
    Ok(busy.iter().any(|busy| status.starts_with(busy)))
}

/// The lines that were not on the page before, as far as they fit in a line.
fn news(before: &str, after: &str) -> String {
    let is_new = |line: &&str| !line.trim().is_empty() && !before.contains(line.trim());
    let lines: Vec<&str> = after.lines().filter(is_new).map(str::trim).collect();
    lines.join(" | ").chars().take(400).collect()
}
