use protocol::RunSpec;

use super::*;
use crate::plan::tests::{CPU, dataset, model, planned};

/// What a machine with two cores measures of SmolLM2-135M, about.
const SPEED: Speed = Speed {
    block_millis: 0.25,
    head_millis: 2.0,
    ratio: 1.0,
};

fn lengths(rows: &[usize]) -> RowLengths {
    RowLengths::new(rows.to_vec(), 500)
}

fn estimate(rows: &[usize], change: impl FnOnce(&mut RunSpec)) -> TimeEstimate {
    let mut spec = RunSpec::default();
    change(&mut spec);
    let dataset = dataset(rows.len());
    let plan = planned(&spec, &model(), &dataset, CPU).unwrap();
    TimeEstimate::new(&plan, &model(), &dataset, &lengths(rows), SPEED)
}

/// Within a tenth of each other.
fn near(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 0.1
}

#[test]
fn the_longest_of_a_batch_is_what_draws_give_on_average() {
    let rows = [10, 20, 30, 40];
    assert_eq!(lengths(&rows).mean_longest(1), 25.0);
    // Of two draws with repetition: (1 x 10 + 3 x 20 + 5 x 30 + 7 x 40) / 16.
    assert!((lengths(&rows).mean_longest(2) - 31.25).abs() < 1e-9);
    assert!((lengths(&[7; 5]).mean_longest(3) - 7.0).abs() < 1e-9);
    assert_eq!(lengths(&[]).mean_longest(4), 0.0);
}

#[test]
fn a_step_is_its_tokens_through_blocks_and_head() {
    // 4 rows of 128 tokens through 30 blocks, half of them scored. 512 tokens are kept only in part of the blocks.
    let step = estimate(&[128; 45], |spec| spec.adapter.r = 1).step_secs;
    let blocks = 512.0 * 30.0 * 0.25 / 1000.0;
    let head = 4.0 * 50.0 * 2.0 / 1000.0;
    assert!(step > blocks + head, "{step} s");
    assert!(step < 1.4 * blocks + 1.1 * head, "{step} s");
    // A single short row is kept in all blocks.
    let short = estimate(&[128; 45], |spec| {
        spec.adapter.r = 1;
        spec.per_device_train_batch_size = 1;
    });
    assert!(
        near(short.step_secs, blocks / 4.0 + head / 4.0),
        "{short:?}"
    );
}

#[test]
fn more_of_anything_takes_longer() {
    let usual = estimate(&[128; 45], |_| {}).total_secs();
    let twice = estimate(&[128; 45], |spec| spec.num_train_epochs = 6.0).total_secs();
    // The evaluations are as many as before.
    assert!(
        twice > 1.6 * usual && twice <= 2.0 * usual,
        "{usual} {twice}"
    );
    for (what, change) in [
        (
            "accumulation",
            (|spec| spec.gradient_accumulation_steps = 2) as fn(&mut RunSpec),
        ),
        ("batch", |spec| {
            spec.max_steps = 36;
            spec.per_device_train_batch_size = 8;
        }),
        ("rank", |spec| {
            spec.adapter.target_modules = TargetModule::ALL.to_vec();
            spec.adapter.r = 64;
        }),
        ("evaluations", |spec| spec.eval_steps = 1),
    ] {
        let more = estimate(&[128; 45], |spec| {
            spec.max_steps = 36;
            change(spec);
        });
        assert!(
            more.total_secs() > 1.02 * usual,
            "{what}: {more:?}, {usual}"
        );
    }
    let long = estimate(&[512; 45], |_| {}).total_secs();
    assert!(long > 4.0 * usual, "attention grows too: {long}, {usual}");
}

#[test]
fn grouped_rows_have_no_padding_and_one_long_row_pads_the_others() {
    let mut rows = vec![40; 44];
    rows.push(400);
    let mixed = estimate(&rows, |_| {}).step_secs;
    let grouped = estimate(&rows, |spec| spec.group_by_length = true).step_secs;
    let short = estimate(&[40; 45], |_| {}).step_secs;
    assert!(
        short < grouped && grouped < mixed,
        "{short} {grouped} {mixed}"
    );
}

#[test]
fn what_the_last_run_took_corrects_the_whole() {
    let rows = [128; 45];
    let dataset = dataset(45);
    let plan = planned(&RunSpec::default(), &model(), &dataset, CPU).unwrap();
    let of = |ratio| {
        let speed = Speed { ratio, ..SPEED };
        TimeEstimate::new(&plan, &model(), &dataset, &lengths(&rows), speed).total_secs()
    };
    assert!((of(3.0) / of(1.0) - 3.0).abs() < 1e-9);
}

#[test]
fn an_empty_dataset_and_a_strange_model_give_finite_numbers() {
    let mut odd = model();
    odd.num_hidden_layers = 0;
    let none = dataset(0);
    let full = dataset(45);
    let mut plan = planned(&RunSpec::default(), &model(), &full, CPU).unwrap();
    for packing in [false, true] {
        plan.spec.packing = packing;
        let estimate = TimeEstimate::new(&plan, &odd, &none, &lengths(&[]), SPEED);
        assert!(estimate.total_secs().is_finite(), "{estimate:?}");
    }
}
