//! A run under its user's hand: pause, resume, stop, and what stays after a stop.

use std::time::Duration;

use e2e::browser::Window;
use e2e::page::{Page, Seen};

use crate::visit::{Outcome, RUN, SOON, Visit, file, fill, load, questions, seed, unzipped};

/// Within one block of the model, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

fn wait_for_another_loss(page: &Page) -> Outcome {
    let before = page.readout("Training loss")?;
    page.wait("another step", RUN, || {
        let loss = page.readout("Training loss")?;
        Ok(if loss.is_some() && loss != before {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!("{loss:?}"))
        })
    })?;
    Ok(())
}

#[test]
fn a_run_is_paused_resumed_and_stopped() -> Outcome {
    let Some(visit) = Visit::start("control", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let dataset = visit.write("questions.jsonl", questions(12, seed()))?;
    load(&page, &dataset)?;
    fill(
        &page,
        &[
            ("Max steps", "500"),
            ("Batch size", "1"),
            ("Sequence length", "64"),
        ],
    )?;
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    wait_for_another_loss(&page)?;

    page.press("Pause")?;
    page.wait_for_status(&["Paused"], AT_ONCE)?;
    let (status, loss) = (page.status()?, page.readout("Training loss")?);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(
        (page.status()?, page.readout("Training loss")?),
        (status, loss),
        "nothing moves while paused"
    );

    page.press("Resume")?;
    page.wait_for_status(&["Training", "Evaluating"], AT_ONCE)?;
    wait_for_another_loss(&page)?;

    page.press("Stop")?;
    page.wait_for_status(&["Stopped"], RUN)?;
    page.press("Download adapter")?;
    let files = unzipped(&visit.browser.downloaded(".zip", SOON)?)?;
    assert!(!file(&files, "adapter_model.safetensors")?.is_empty());

    // The page is ready for the next run.
    page.wait_until_enabled("Start training", SOON)?;
    page.expect_quiet_console()?;
    Ok(())
}
