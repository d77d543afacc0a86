//! The same run on WebGPU (a software adapter will do) and on the CPU.

use std::error::Error;

use e2e::browser::Window;
use e2e::page::Page;

use crate::visit::{
    LOADING, Outcome, RUN, SOON, Visit, fill, load, log_lines, picture, seed, sentences, unzipped,
};

const NUM_STEPS: usize = 3;

#[test]
fn gpu_and_cpu_agree() -> Outcome {
    let data = sentences(8, seed());
    let Some(cpu) = losses("devices-cpu", "cpu", &data)? else {
        return Ok(());
    };
    let Some(gpu) = losses("devices-gpu", "gpu", &data)? else {
        return Ok(());
    };
    println!("cpu: {cpu:?}\ngpu: {gpu:?}");
    assert_eq!(cpu.len(), gpu.len());
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        assert!(
            (cpu - gpu).abs() < 1e-3,
            "{cpu} on the CPU, {gpu} on the GPU"
        );
    }
    Ok(())
}

/// The loss of each step of a short run on that device, from the exported log; `None` where there is no browser.
fn losses(test: &str, device: &str, data: &str) -> Result<Option<Vec<f64>>, Box<dyn Error>> {
    let Some(visit) = Visit::start(test, Window::default())? else {
        return Ok(None);
    };
    let page = visit.page()?;
    page.choose("Device", device)?;
    page.wait_for_status(&["Idle", "Ready"], LOADING)?;
    let dataset = visit.write("sentences.jsonl", data)?;
    load(&page, &dataset)?;
    picture(&page, test)?;
    train(&page)?;
    page.press("Download adapter")?;
    let files = unzipped(&visit.browser.downloaded(".zip", SOON)?)?;
    page.expect_quiet_console()?;
    let log = log_lines(&files)?;
    let steps = log.iter().filter(|line| line["type"] == "step");
    let losses: Vec<f64> = steps.filter_map(|line| line["loss"].as_f64()).collect();
    assert_eq!(losses.len(), NUM_STEPS, "a loss for each step");
    Ok(Some(losses))
}

fn train(page: &Page) -> Outcome {
    let steps = NUM_STEPS.to_string();
    fill(
        page,
        &[
            ("Max steps", &steps),
            ("Batch size", "1"),
            ("Sequence length", "16"),
            ("Seed", "3"),
        ],
    )?;
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    Ok(())
}
