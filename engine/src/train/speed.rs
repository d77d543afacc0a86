//! Measures the speed of the device with the loaded model: a block forward and backward, and a part of the head.
//!
//! The plan computes the duration of a run from these two numbers and the shapes of the run (`plan/time.rs`). A
//! measurement ends with a read of one number, which waits for everything queued before it; it is repeated often enough
//! that the wait and a coarse clock hardly matter. Without an adapter and in the first block only: all blocks have the
//! same shapes.

use burn::tensor::Tensor;

use crate::{
    device::DeviceProfile,
    kernels::HeadSums,
    layers::block::{Block, BlockAdapter, PassContext},
    model::Model,
    plan::{Speed, measured_tokens},
    surroundings::Clock,
    tensor::{DeviceLost, read_all},
};

/// The number of scored tokens with which the head is measured.
const SCORED: usize = 64;
/// The number of vocabulary entries with which the head is measured; the rest is taken to be as fast.
const WORDS: usize = 8192;
/// A block is repeated until its measurement takes this long, ...
const ENOUGH_MILLIS: f64 = 20.0;
/// ... but at most this many times.
const MOST_REPETITIONS: usize = 16;

/// Measures the speed; `None` for a model without blocks. On a CPU this takes tenths of a second for a small model.
///
/// The ratio of the result is 1: no run has corrected it yet.
///
/// # Errors
/// [`DeviceLost`] if the device delivers no result.
pub async fn measure(
    model: &Model,
    device: DeviceProfile,
    clock: &dyn Clock,
) -> Result<Option<Speed>, DeviceLost> {
    let Some(block) = model.blocks.first() else {
        return Ok(None);
    };
    let num_tokens = measured_tokens(device);
    // Any tokens do: the time of dense products does not depend on values.
    let ids: Vec<u32> = (0..num_tokens)
        .map(|token| (token % model.config.vocab_size) as u32)
        .collect();
    let x = model.embed(&ids, None);
    let context = model.row_context(num_tokens, 0, device.precision);
    // Everything compiled on first use is compiled before.
    blocks_millis(block, &x, &context, 1, clock).await?;
    let mut repetitions = 1;
    let mut elapsed = blocks_millis(block, &x, &context, repetitions, clock).await?;
    while elapsed < ENOUGH_MILLIS && repetitions < MOST_REPETITIONS {
        repetitions *= 2;
        elapsed = blocks_millis(block, &x, &context, repetitions, clock).await?;
    }
    let block_millis = elapsed / (repetitions * num_tokens) as f64;

    let scored = SCORED.min(num_tokens);
    let rows = x.narrow(0, 0, scored);
    // Once to compile, once to measure.
    head_millis(model, &rows, clock).await?;
    let (words, elapsed) = head_millis(model, &rows, clock).await?;
    let share = model.config.vocab_size as f64 / words as f64;
    Ok(Some(Speed {
        block_millis,
        head_millis: elapsed * share / scored as f64,
        ratio: 1.0,
    }))
}

/// Returns the milliseconds of `repetitions` forwards and backwards of a block.
///
/// # Shapes
/// - `x`: `[n, d]`, the input, which stands in for the gradient of the output as well
async fn blocks_millis(
    block: &Block,
    x: &Tensor<2>,
    context: &PassContext,
    repetitions: usize,
    clock: &dyn Clock,
) -> Result<f64, DeviceLost> {
    clock.yield_now().await;
    let adapter = BlockAdapter::default();
    let started = clock.now_millis();
    let mut last = None;
    for _ in 0..repetitions {
        let (_, saved) = block.forward_saving(x.clone(), Some(&adapter), context, true);
        (last, _) = block.backward(x.clone(), &adapter, context, saved, true);
    }
    if let Some(last) = last {
        read_all(last.slice([0..1, 0..1])).await?;
    }
    Ok(clock.now_millis() - started)
}

/// Returns the number of vocabulary entries used, and the milliseconds of their loss and gradient.
///
/// # Shapes
/// - `rows`: `[s, d]`, any hidden states
async fn head_millis(
    model: &Model,
    rows: &Tensor<2>,
    clock: &dyn Clock,
) -> Result<(usize, f64), DeviceLost> {
    let head = model.head();
    let words = head.rows().min(WORDS);
    let part = head.slice_rows(0..words);
    clock.yield_now().await;
    let started = clock.now_millis();
    let sums = HeadSums::new(rows.dims()[0], head.cols(), true, &model.device);
    let sums = sums.add(rows, &part);
    read_all(sums.weighted.slice([0..1, 0..1])).await?;
    Ok((words, clock.now_millis() - started))
}
