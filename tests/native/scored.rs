//! Scores after a run: every row's losses, right tokens and exact matches compared with plain arithmetic in f64, the
//! confusion matrix with each label scored separately, and `evaluation.json` read back.

use std::{
    collections::BTreeSet,
    io::{Cursor, Read},
};

use engine::{
    adapter::DeviceAdapter,
    data::{Encoder, TokenSequence, batch::Batch, keep::KEEP_PROMPTS},
    model::Model,
    pacing::Pacing,
    surroundings::{Clock, Control},
    tensor::read_all,
    tokenizer::Tokenizer,
    train::{
        score::{RowResult, score_rows},
        state::TrainingState,
        step::evaluate,
    },
    workbench::Workbench,
};
use formats::{
    row::{Example, Row},
    row_file::{RowFacts, StoredRow},
};
use futures_executor::block_on;
use protocol::{
    AdapterId, AdapterSpec, AdapterSummary, Command, DataSpec, DatasetSummary, Event, ExportKind,
    FailureKind, LabelScore, Precision, RunId, RunSpec, ScoreReport, Side, TargetModule,
};
use serde_json::Value;

use crate::common::{
    file,
    fixture::{self, assert_share},
    golden::{self, continued},
    host::{RUN, ScriptedHost},
    load,
    random::Random,
    workbench::{self, load_model, load_rows},
};

fn results(
    model: &Model,
    adapter: Option<&DeviceAdapter>,
    rows: &[TokenSequence],
    spec: &RunSpec,
    ends: &[u32],
) -> Vec<RowResult> {
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let ends: BTreeSet<u32> = ends.iter().copied().collect();
    let scoring = score_rows(
        model,
        adapter,
        rows,
        spec,
        &ends,
        Precision::Single,
        &pacing,
    );
    let mut results = block_on(scoring).unwrap();
    results.sort_by_key(|result| result.row);
    results
}

/// Packed and padded, several rows a batch and one.
fn batchings() -> [RunSpec; 3] {
    [(false, 1), (false, 3), (true, 1)].map(|(packing, per_device_train_batch_size)| RunSpec {
        packing,
        per_device_train_batch_size,
        ..RunSpec::default()
    })
}

/// A row's summed loss and its right tokens from logits `[t, v]`, in f64.
fn plain(row: &TokenSequence, logits: &[f32], vocab_size: usize) -> (f64, usize) {
    let (mut nll_sum, mut right) = (0.0, 0);
    for at in (1..row.ids.len()).filter(|&at| row.loss_mask[at]) {
        let logits = &logits[(at - 1) * vocab_size..at * vocab_size];
        let target = logits[row.ids[at] as usize];
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        nll_sum += sum.ln() - f64::from(target);
        right += usize::from(logits.iter().all(|&logit| logit <= target));
    }
    (nll_sum, right)
}

/// Logits at every position of a row, the whole vocabulary at once.
fn logits(model: &Model, adapter: Option<&DeviceAdapter>, ids: &[u32]) -> Vec<f32> {
    let context = model.row_context(ids.len(), 0, Precision::Single);
    let mut hidden = model.embed(ids, adapter);
    for block in &model.blocks {
        let adapter = adapter.map(|adapter| &adapter.blocks[block.index]);
        hidden = block.forward(hidden, adapter, &context, None);
    }
    let normed = model.final_norm(hidden, adapter);
    block_on(read_all(model.head().forward(normed, None))).unwrap()
}

/// A loss is a difference of logits, so its error does not shrink with it.
fn assert_plain(what: &str, result: &RowResult, (nll_sum, right): (f64, usize)) {
    let error = (result.nll_sum - nll_sum).abs();
    let largest = 1e-5 * (result.num_scored as f64 + nll_sum);
    assert!(error < largest, "{what}: {} and {nll_sum}", result.nll_sum);
    assert_eq!(result.num_right, right, "{what}");
}

#[derive(serde::Deserialize)]
struct Forward {
    rows: Vec<fixture::Row>,
}

#[test]
fn rows_have_the_losses_and_right_tokens_of_transformers_logits() {
    for name in ["tiny", "odd"] {
        let model = load::fixture_model(name);
        let Forward { rows } = fixture::json(&format!("model/{name}.forward.json"));
        let tensors = fixture::tensors(&format!("model/{name}.forward.safetensors"));
        let (golden, v) = (&tensors["logits"], model.config.vocab_size);
        let padded = golden.len() / rows.len();
        let mut sequences = Vec::new();
        for (row, golden) in rows.iter().zip(golden.chunks(padded)) {
            let sequence = row.sequence();
            // As it is, and with the likeliest token as the last, which the reference has right.
            let mut ending = sequence.clone();
            let last = ending.ids.len() - 1;
            let before = &golden[(last - 1) * v..last * v];
            let best = (0u32..).zip(before).max_by(|a, b| a.1.total_cmp(b.1));
            (ending.ids[last], ending.loss_mask[last]) = (best.unwrap().0, true);
            for sequence in [sequence, ending] {
                let expected = plain(&sequence, golden, v);
                let row = sequences.len();
                sequences.push((TokenSequence { row, ..sequence }, expected));
            }
        }
        let (rows, expected): (Vec<_>, Vec<_>) = sequences.into_iter().unzip();
        assert!(expected[1].1 > expected[0].1, "the last token counts");
        for spec in batchings() {
            let results = results(&model, None, &rows, &spec, &[]);
            assert_eq!(results.len(), rows.len());
            for (result, expected) in results.iter().zip(&expected) {
                let what = format!("{name}, packed: {}, row {}", spec.packing, result.row);
                assert_plain(&what, result, *expected);
                assert_eq!(result.num_scored, rows[result.row].num_scored());
            }
        }
    }
}

#[test]
fn a_tuned_model_is_scored_by_its_own_logits() {
    let mut random = Random::new();
    let model = load::fixture_model("odd");
    let rows = random.sequences(9);
    let spec = RunSpec {
        adapter: AdapterSpec {
            target_modules: TargetModule::ALL.to_vec(),
            ..AdapterSpec::default()
        },
        ..RunSpec::default()
    };
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let mut state = block_on(TrainingState::start(&spec, &model, golden::profile())).unwrap();
    let learned = Batch::new(&rows.iter().collect::<Vec<_>>());
    for _ in 0..60 {
        block_on(state.step(&model, std::slice::from_ref(&learned), 1e-2, &pacing)).unwrap();
    }
    let adapter = state.upload(&model);
    let v = model.config.vocab_size;
    let tuned: Vec<(f64, usize)> = (rows.iter())
        .map(|row| plain(row, &logits(&model, Some(&adapter), &row.ids), v))
        .collect();
    let base = rows
        .iter()
        .map(|row| plain(row, &logits(&model, None, &row.ids), v).1);
    let right: usize = tuned.iter().map(|(_, right)| right).sum();
    assert!(right > base.sum(), "something was memorized");
    for spec in batchings() {
        for (result, expected) in results(&model, Some(&adapter), &rows, &spec, &[])
            .iter()
            .zip(&tuned)
        {
            assert_plain(&format!("row {}", result.row), result, *expected);
        }
    }
}

#[test]
fn a_row_matches_exactly_where_greedy_decoding_writes_it() {
    let mut random = Random::new();
    let model = load::fixture_model("odd");
    let mut rows = Vec::new();
    for row in 0..6_usize {
        let mut draw = || {
            let prompt: Vec<u32> = (0..random.size(2..9))
                .map(|_| random.size(3..320) as u32)
                .collect();
            let written = block_on(continued(&model, &prompt, 7));
            (prompt, written)
        };
        // The last token but one ends a turn below, so it is to stand there alone.
        let is_distinct = |written: &[u32]| !written[..5].contains(&written[5]);
        let (prompt, written) = (0..100)
            .map(|_| draw())
            .find(|(_, written)| is_distinct(written))
            .unwrap();
        let mask = [vec![false; prompt.len()], vec![true; 7]].concat();
        let mut ids = [prompt, written].concat();
        if !row.is_multiple_of(2) {
            // One token that decoding does not write; what follows it may be right or wrong.
            let at = ids.len() - 1 - random.size(0..7);
            ids[at] = if ids[at] == 5 { 6 } else { 5 };
        }
        let loss_mask = mask;
        rows.push(TokenSequence {
            row,
            ids,
            loss_mask,
        });
    }
    for spec in batchings() {
        for result in results(&model, None, &rows, &spec, &[]) {
            assert_eq!(
                result.is_exact,
                result.row.is_multiple_of(2),
                "row {}",
                result.row
            );
            assert_eq!(result.is_exact, result.num_right == result.num_scored);
        }
    }
    // Cut before the end of its turn: what it has is right, but nobody knows how it goes on.
    let absent = (3..320).find(|id| !rows[0].ids.contains(id)).unwrap();
    let unending = results(&model, None, &rows[..1], &batchings()[0], &[absent]);
    assert_eq!(unending[0].num_right, unending[0].num_scored);
    assert!(!unending[0].is_exact);

    // Nothing is decoded after an end of turn: a wrong last token does no harm if the one before ends the turn.
    let mut row = rows[0].clone();
    let last = row.ids.len() - 1;
    row.ids[last] = if row.ids[last] == 5 { 6 } else { 5 };
    let end = row.ids[last - 1];
    let exact = |row: &TokenSequence, ends: &[u32]| {
        let result = results(
            &model,
            None,
            std::slice::from_ref(row),
            &batchings()[0],
            ends,
        )[0];
        assert_eq!(result.num_right, result.num_scored - 1);
        result.is_exact
    };
    assert!(!exact(&row, &[]));
    assert!(exact(&row, &[end]));
    // An end that is not scored belongs to the prompt.
    row.loss_mask[last - 1] = false;
    assert!(!exact(&row, &[end]));
}

/// Dataset of texts with one of three labels, which the first word tells.
const LABELS: [(&str, &str); 3] = [("rain", "wet"), ("sand", "dry"), ("snow", "cold")];
const NUM_ROWS: usize = 40;

fn label_of(row: usize) -> usize {
    // Twenty, twelve and eight of them: the most frequent first.
    [0, 1, 0, 2, 0, 1, 0, 2, 0, 1][row % 10]
}

fn stored(row: usize) -> StoredRow {
    let (word, label) = LABELS[label_of(row)];
    let example = Example::Pair {
        prompt: format!("{word} on day {row}: "),
        completion: label.to_owned(),
    };
    StoredRow {
        row: Row {
            // The first rows of the file were refused.
            row: row + 2,
            example,
        },
        facts: RowFacts {
            label: Some(label.to_owned()),
            ..RowFacts::default()
        },
    }
}

fn bench(host: &ScriptedHost) -> Workbench<'_> {
    let mut bench = workbench::empty(host);
    load_model(&mut bench, golden::sources("tiny"));
    let rows: Vec<StoredRow> = (0..NUM_ROWS).map(stored).collect();
    let count = |label| (0..NUM_ROWS).filter(|&row| label_of(row) == label).count();
    let labels = (0..3).map(|label| (LABELS[label].1.to_owned(), count(label)));
    let dataset = DatasetSummary {
        num_rows: NUM_ROWS + 2,
        sha256: "of these rows".to_owned(),
        labels: labels.collect(),
        ..DatasetSummary::default()
    };
    load_rows(&mut bench, &rows, dataset);
    bench
}

fn data_spec(test_split: f64) -> DataSpec {
    DataSpec {
        max_seq_length: 64,
        validation_split: 0.3,
        test_split,
        ..DataSpec::default()
    }
}

fn train(bench: &mut Workbench<'_>, test_split: f64, max_steps: u64) {
    let spec = RunSpec {
        adapter: AdapterSpec {
            r: 8,
            target_modules: TargetModule::ALL.to_vec(),
            ..AdapterSpec::default()
        },
        learning_rate: 1e-2,
        max_steps,
        per_device_train_batch_size: 4,
        data: data_spec(test_split),
        ..RunSpec::default()
    };
    let run = RunId(2);
    block_on(bench.handle(Command::StartTraining { run, spec }, Vec::new()));
}

/// Of the adapter that came first.
fn score_command(side: Side) -> Command {
    Command::Score {
        run: RUN,
        adapter: AdapterId(1),
        side,
    }
}

fn score(bench: &mut Workbench<'_>, host: &ScriptedHost, side: Side) -> ScoreReport {
    block_on(bench.handle(score_command(side), Vec::new()));
    match host.events.borrow().last().cloned().unwrap().1 {
        Event::Scored {
            run: RUN,
            adapter: AdapterId(1),
            report: Some(report),
        } => report,
        event => panic!("{event:?}"),
    }
}

fn evaluation(bench: &mut Workbench<'_>, host: &ScriptedHost) -> Value {
    evaluation_of(bench, host, AdapterId(1))
}

fn evaluation_of(bench: &mut Workbench<'_>, host: &ScriptedHost, adapter: AdapterId) -> Value {
    let kind = ExportKind::Peft;
    block_on(bench.handle(Command::Export { adapter, kind }, Vec::new()));
    let zips = host.zips.borrow();
    let mut archive = zip::ZipArchive::new(Cursor::new(zips.last().unwrap())).unwrap();
    let mut text = String::new();
    let mut file = archive.by_name("evaluation.json").unwrap();
    file.read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Mean over scored tokens.
fn mean(rows: &[(usize, f64)]) -> f64 {
    let tokens: usize = rows.iter().map(|(tokens, _)| tokens).sum();
    let sum: f64 = rows
        .iter()
        .map(|(tokens, loss)| *tokens as f64 * loss)
        .sum();
    sum / tokens as f64
}

/// The base model by itself, without the workbench.
struct Alone {
    model: Model,
    tokenizer: Tokenizer,
}

impl Alone {
    fn new() -> Self {
        let config: Value = serde_json::from_slice(&file::bytes("model/tiny/config.json")).unwrap();
        let ids = ["bos_token_id", "eos_token_id"].map(|key| config[key].as_u64().unwrap() as u32);
        let tokenizer = Tokenizer::from_json(&file::bytes("model/tiny/tokenizer.json"), None);
        Self {
            model: load::fixture_model("tiny"),
            tokenizer: tokenizer.unwrap().with_model_ids(Some(ids[0]), &ids[1..]),
        }
    }

    /// Scored tokens and mean loss.
    fn loss(&self, prompt: &str, completion: &str, spec: &DataSpec) -> (usize, f64) {
        let encoder = Encoder {
            tokenizer: &self.tokenizer,
            template: None,
        };
        let example = Example::Pair {
            prompt: prompt.to_owned(),
            completion: completion.to_owned(),
        };
        let (sequence, num_cut) = encoder.encode(&Row { row: 0, example }, spec).unwrap();
        assert_eq!(num_cut, 0);
        let host = ScriptedHost::default();
        let pacing = Pacing::new(&host);
        let batch = Batch::new(&[&sequence]);
        let loss = evaluate(&self.model, None, &batch, Precision::Single, &pacing);
        let scored = sequence.num_scored();
        (scored, block_on(loss).unwrap() / scored as f64)
    }
}

#[test]
fn the_report_is_told_and_stands_in_the_zip() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host);
    train(&mut bench, 0.2, 60);
    assert_eq!(
        evaluation(&mut bench, &host)["scores"],
        Value::Array(Vec::new())
    );
    let validation = score(&mut bench, &host, Side::Validation);
    assert!(
        validation.rows.is_empty(),
        "the page gets the worst and the best"
    );
    let first = evaluation(&mut bench, &host);
    let test = score(&mut bench, &host, Side::Test);
    assert_eq!(score(&mut bench, &host, Side::Validation), validation);
    let evaluation = evaluation(&mut bench, &host);
    let stored: Vec<ScoreReport> = serde_json::from_value(evaluation["scores"].clone()).unwrap();
    assert_eq!(stored.len(), 2);
    // The side that was scored again is the last.
    for (stored, told) in stored.iter().zip([&test, &validation]) {
        let without_rows = ScoreReport {
            rows: Vec::new(),
            ..stored.clone()
        };
        // Reading a number's digits may cost its last bit, here as there.
        let read: ScoreReport =
            serde_json::from_str(&serde_json::to_string(told).unwrap()).unwrap();
        assert!(without_rows == read, "{without_rows:?} and {read:?}");
    }
    assert_eq!(first["scores"][0], evaluation["scores"][1]);
    for key in ["loss", "perplexity", "token_accuracy", "exact_matches"] {
        assert!(
            evaluation["scores"][0]["total"]["tuned"][key].is_number(),
            "{key}"
        );
    }
    // The losses are those that the run itself told of the same rows.
    let total = &stored[1].total;
    assert_share(
        "base",
        total.base.loss,
        evaluation["base_loss"].as_f64().unwrap(),
        1e-5,
    );
    assert_share(
        "tuned",
        total.tuned.loss,
        evaluation["tuned_loss"].as_f64().unwrap(),
        1e-5,
    );
    assert_eq!(evaluation["held_out_rows"].as_array().unwrap().len(), 12);
    assert_eq!((stored[0].total.num_rows, total.num_rows), (8, 12));
    for report in &stored {
        check(report);
    }
}

fn check(report: &ScoreReport) {
    let alone = Alone::new();
    let total = &report.total;
    assert_eq!(report.rows.len(), total.num_rows);
    assert!(report.rows.is_sorted_by_key(|row| row.row));
    for row in &report.rows {
        let (word, label) = LABELS[label_of(row.row - 2)];
        let prompt = format!("{word} on day {}: ", row.row - 2);
        let (scored, loss) = alone.loss(&prompt, label, &data_spec(0.2));
        assert_eq!(row.scored_tokens, scored);
        assert_share(&prompt, row.base_loss, loss, 1e-5);
    }
    let of = |loss: fn(&protocol::RowScore) -> f64| {
        let rows: Vec<_> = report
            .rows
            .iter()
            .map(|row| (row.scored_tokens, loss(row)))
            .collect();
        mean(&rows)
    };
    assert_share("base", total.base.loss, of(|row| row.base_loss), 1e-9);
    assert_share("tuned", total.tuned.loss, of(|row| row.tuned_loss), 1e-9);
    let exact = report.rows.iter().filter(|row| row.tuned_exact).count();
    assert_eq!(total.tuned.exact_matches, exact);
    for score in [total.base, total.tuned] {
        assert_share("perplexity", score.perplexity, score.loss.exp(), 1e-12);
        assert!((0.0..=1.0).contains(&score.token_accuracy));
    }
    assert!(total.tuned.token_accuracy > total.base.token_accuracy);

    // The best fell the most of all, and lead to their rows.
    assert_eq!(report.best.len(), ScoreReport::MAX_CHANGES);
    let mut falls: Vec<f64> = report.rows.iter().map(|row| -row.rise()).collect();
    falls.sort_by(|one, other| other.total_cmp(one));
    let listed: Vec<f64> = report
        .best
        .iter()
        .map(|change| -change.score.rise())
        .collect();
    assert_eq!(listed, falls[..listed.len()]);
    let rises = report.rows.iter().filter(|row| row.rise() > 0.0).count();
    assert_eq!(report.worst.len(), rises.min(ScoreReport::MAX_CHANGES));
    for change in report.worst.iter().chain(&report.best) {
        assert_eq!(change.place + 2, change.score.row);
        let (word, _) = LABELS[label_of(change.place)];
        assert_eq!(change.prompt, format!("{word} on day {}: ", change.place));
        assert!(report.rows.contains(&change.score));
    }
    check_labels(&alone, report);

    let keep = report.keep.as_ref().unwrap();
    assert_eq!(keep.prompts.len(), KEEP_PROMPTS.len());
    let expected = KEEP_PROMPTS
        .map(|(prompt, completion)| alone.loss(prompt, completion, &DataSpec::default()));
    for (change, (scored, loss)) in keep.prompts.iter().zip(expected) {
        assert_eq!(change.prompt, KEEP_PROMPTS[change.score.row].0);
        assert_eq!(change.score.scored_tokens, scored);
        assert_share(&change.prompt, change.score.base_loss, loss, 1e-5);
    }
    assert_share(
        "general prompts",
        keep.total.base.loss,
        mean(&expected),
        1e-5,
    );
    assert_ne!(keep.total.base.loss, keep.total.tuned.loss);
}

fn check_labels(alone: &Alone, report: &ScoreReport) {
    let LabelScore {
        labels,
        num_rows,
        base_right,
        tuned_right,
        most_frequent_right,
        base_confusion,
        tuned_confusion,
    } = report.labels.as_ref().unwrap();
    assert_eq!(labels, &LABELS.map(|(_, label)| label.to_owned()));
    assert_eq!(*num_rows, report.rows.len());
    let mut base = vec![vec![0; 3]; 3];
    let mut tuned = base.clone();
    for row in &report.rows {
        let row = row.row - 2;
        let own = label_of(row);
        let prompt = format!("{} on day {row}: ", LABELS[own].0);
        let sums = LABELS.map(|(_, label)| {
            let (scored, loss) = alone.loss(&prompt, label, &data_spec(0.2));
            scored as f64 * loss
        });
        let likeliest = (0..3).min_by(|&a, &b| sums[a].total_cmp(&sums[b])).unwrap();
        base[own][likeliest] += 1;
        // The label is determined by one word, which the run has learned.
        tuned[own][own] += 1;
    }
    assert_eq!(base_confusion, &base);
    assert_eq!(tuned_confusion, &tuned);
    let trace = |matrix: &[Vec<usize>]| (0..3).map(|at| matrix[at][at]).sum::<usize>();
    assert_eq!((*base_right, *tuned_right), (trace(&base), trace(&tuned)));
    assert_eq!(*most_frequent_right, base[0].iter().sum::<usize>());
    assert!(base_right < tuned_right && most_frequent_right < tuned_right);
}

#[test]
fn nothing_is_scored_without_rows_or_a_run() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host);
    let refused = |bench: &mut Workbench<'_>, side: Side| {
        block_on(bench.handle(score_command(side), Vec::new()));
        match host.events.borrow().last().cloned().unwrap().1 {
            Event::Failed { failure } => failure,
            event => panic!("{event:?}"),
        }
    };
    let failure = refused(&mut bench, Side::Validation);
    assert_eq!(
        (failure.kind, failure.run),
        (FailureKind::WrongState, Some(RUN))
    );
    train(&mut bench, 0.0, 1);
    let failure = refused(&mut bench, Side::Test);
    assert_eq!(
        (failure.kind, failure.run),
        (FailureKind::WrongState, Some(RUN))
    );
    score(&mut bench, &host, Side::Validation);
}

#[test]
fn a_stop_ends_the_scoring_and_leaves_nothing_of_it() {
    let host = ScriptedHost::default();
    let mut whole = bench(&host);
    train(&mut whole, 0.0, 1);
    let start = host.now();
    let expected = score(&mut whole, &host, Side::Validation);
    let end = host.now();
    assert!(end > start + 10);
    for stop in [start + 1, start + (end - start) / 2, end - 1] {
        let script = vec![(stop, Control::Stop), (stop + 1, Control::Run)];
        let host = ScriptedHost::new(script);
        let mut bench = bench(&host);
        train(&mut bench, 0.0, 1);
        let side = Side::Validation;
        block_on(bench.handle(score_command(side), Vec::new()));
        let stopped = host.events.borrow().last().cloned().unwrap();
        let nothing = Event::Scored {
            run: RUN,
            adapter: AdapterId(1),
            report: None,
        };
        assert_eq!(stopped, (stop, nothing), "obeyed at once");
        assert_eq!(
            evaluation(&mut bench, &host)["scores"],
            Value::Array(Vec::new())
        );
        block_on(async { host.yield_now().await });
        assert_eq!(score(&mut bench, &host, side), expected);
    }
}

fn adapters(host: &ScriptedHost) -> Vec<AdapterSummary> {
    let events = host.events.borrow();
    let list = |(_, event): &(u64, Event)| match event {
        Event::Adapters { list } => Some(list.adapters.clone()),
        _ => None,
    };
    events.iter().rev().find_map(list).unwrap()
}

fn report_of(bench: &mut Workbench<'_>, host: &ScriptedHost, adapter: AdapterId) -> ScoreReport {
    let (run, side) = (RUN, Side::Validation);
    let command = Command::Score { run, adapter, side };
    block_on(bench.handle(command, Vec::new()));
    match host.events.borrow().last().cloned().unwrap().1 {
        Event::Scored {
            adapter: of,
            report: Some(report),
            ..
        } if of == adapter => report,
        event => panic!("{event:?}"),
    }
}

#[test]
fn every_run_stays_to_be_scored_and_exported() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host);
    train(&mut bench, 0.0, 1);
    let first = report_of(&mut bench, &host, AdapterId(1));
    // On another split, with rows that the first run has learned.
    train(&mut bench, 0.2, 3);
    for (id, sides) in [
        (0, vec![Side::Validation]),
        (1, vec![Side::Validation, Side::Test]),
    ] {
        assert_eq!(adapters(&host)[id].scored_on, sides);
    }
    assert_eq!(report_of(&mut bench, &host, AdapterId(1)), first);
    let second = report_of(&mut bench, &host, AdapterId(2));
    assert_ne!(second.total, first.total);
    for (id, report, num_steps) in [(AdapterId(1), first, 1), (AdapterId(2), second, 3)] {
        let told = evaluation_of(&mut bench, &host, id);
        assert_eq!(told["scores"].as_array().unwrap().len(), 1);
        let loss = told["scores"][0]["total"]["tuned"]["loss"].as_f64();
        assert_eq!(loss, Some(report.total.tuned.loss));
        let zips = host.zips.borrow();
        let mut archive = zip::ZipArchive::new(Cursor::new(zips.last().unwrap())).unwrap();
        let mut log = String::new();
        let mut file = archive.by_name("log.jsonl").unwrap();
        file.read_to_string(&mut log).unwrap();
        let steps = log.lines().filter(|line| line.contains("grad_norm"));
        assert_eq!(steps.count(), num_steps, "{log}");
    }
}

#[test]
fn an_adapter_that_came_in_is_scored_on_the_loaded_rows() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host);
    let files = workbench::adapter("lora.all_linear");
    block_on(bench.handle(Command::LoadAdapter {}, files));
    assert!(
        adapters(&host)[0].scored_on.is_empty(),
        "no row is held out yet"
    );
    block_on(bench.handle(score_command(Side::Validation), Vec::new()));
    let Event::Failed { failure } = host.events.borrow().last().cloned().unwrap().1 else {
        panic!("it was scored on nothing");
    };
    assert_eq!(failure.kind, FailureKind::WrongState);
    let spec = data_spec(0.0);
    block_on(bench.handle(Command::PrepareDataset { spec }, Vec::new()));
    assert_eq!(adapters(&host)[0].scored_on, [Side::Validation]);
    let report = report_of(&mut bench, &host, AdapterId(1));
    assert_eq!(report.total.num_rows, 12);
    assert!(report.total.tuned.loss.is_finite());
    assert_ne!(report.total.tuned.loss, report.total.base.loss);
    // A blend may have parts that learned these rows.
    let files = workbench::adapter("lora.regex");
    block_on(bench.handle(Command::LoadAdapter {}, files));
    let parts = vec![(AdapterId(1), 0.5), (AdapterId(2), 0.5)];
    block_on(bench.handle(Command::BlendAdapters { parts }, Vec::new()));
    let sides = adapters(&host).into_iter().map(|adapter| adapter.scored_on);
    let held_out = || vec![Side::Validation];
    assert!(sides.eq([held_out(), held_out(), Vec::new()]));
    // Of another dataset nothing is held out yet.
    load_rows(&mut bench, &[stored(0)], DatasetSummary::default());
    assert!(
        adapters(&host)
            .iter()
            .all(|adapter| adapter.scored_on.is_empty())
    );
}

#[test]
fn a_run_that_fails_is_named() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host);
    // The last number of the weights, in f32, is as large as they come.
    let mut folder = ["config.json", "model.safetensors", "tokenizer.json"].map(|name| {
        let bytes = file::bytes(&format!("model/tiny/{name}"));
        (name, bytes)
    });
    let weights = &mut folder[1].1;
    let end = weights.len();
    weights[end - 2..].copy_from_slice(&[0x7f, 0x7f]);
    let damaged = folder.map(|(name, bytes)| workbench::named(name, bytes));
    load_model(&mut bench, damaged.into());
    let run = RunId(7);
    let spec = RunSpec {
        data: data_spec(0.0),
        ..RunSpec::default()
    };
    block_on(bench.handle(Command::StartTraining { run, spec }, Vec::new()));
    let last = host.events.borrow().last().cloned().unwrap().1;
    let Event::Failed { failure } = last else {
        panic!("{last:?}");
    };
    assert_eq!(
        (failure.kind, failure.run),
        (FailureKind::NonFinite, Some(run))
    );
}
