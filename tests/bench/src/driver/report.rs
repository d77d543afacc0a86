//! Prints tables and writes JSON.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use e2e::webdriver::Session;
use serde_json::{Value, json};

use crate::{
    BenchError,
    measure::Measured,
    plan::{Options, Place, Side, Work},
};

/// The maximum relative difference of the losses of sides that compute the same.
const MAX_LOSS_DIFFERENCE: f64 = 1e-3;
/// The number of steps whose losses are compared: later, on a single memorized batch, rounding errors grow into
/// differences.
const COMPARED_STEPS: usize = 16;

/// The measurements, printed as they come.
pub struct Report {
    machine: Value,
    sides: BTreeMap<&'static str, Value>,
    missing: Vec<Value>,
    works: Vec<Value>,
    /// Other findings, by name.
    others: BTreeMap<String, Value>,
    /// The group and place whose heading was printed last.
    section: Option<(&'static str, Place)>,
    disagreements: Vec<String>,
    /// The best peer's seconds for a product in f32, by its place and name without the weights.
    dense_peers: BTreeMap<String, f64>,
    /// The best peer's time as a multiple of our best, by group, place and what the weights are.
    ratios: BTreeMap<(&'static str, String), Vec<f64>>,
}

impl Report {
    /// # Errors
    /// The browser's, which is asked for its version.
    pub fn new(session: &Session, options: &Options) -> Result<Self, BenchError> {
        let version = session.devtools("Browser.getVersion", json!({}))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Ok(Self {
            machine: json!({
                "unixSecs": since.map_or(0, |since| since.as_secs()),
                "browser": version["product"],
                "cores": cores,
                "processor": processor(),
                "loadAtStart": load(),
                "repetitions": options.repetitions,
            }),
            sides: BTreeMap::new(),
            missing: Vec::new(),
            works: Vec::new(),
            others: BTreeMap::new(),
            section: None,
            disagreements: Vec::new(),
            dense_peers: BTreeMap::new(),
            ratios: BTreeMap::new(),
        })
    }

    /// Prints that something is not measured.
    pub fn missing(&mut self, what: &str, why: &str) {
        println!("MISSING {what}: {why}");
        self.missing.push(json!({ "what": what, "why": why }));
    }

    /// Records what a side reports about itself.
    pub fn about(&mut self, side: Side, about: &Value) {
        self.sides.insert(side.name(), about.clone());
    }

    /// Records something measured once, such as a size.
    pub fn note(&mut self, name: &str, value: Value) {
        println!("{name}: {value}");
        self.others.insert(name.to_owned(), value);
    }

    /// Prints a workload's row and keeps its numbers.
    pub fn add(&mut self, work: &Work, measured: Vec<(Side, Result<Measured, String>)>) {
        if self.section != Some((work.group, work.place)) {
            self.section = Some((work.group, work.place));
            println!("\n== {} on the {:?}", work.group, work.place);
        }
        println!("{}", work.name);
        let of = |side: &Side| {
            let entry = measured.iter().find(|(other, _)| other == side);
            entry.and_then(|(_, measured)| measured.as_ref().ok()?.median())
        };
        let ours = work.sides.iter().filter(|side| side.is_ours());
        let best_of_ours = ours.filter_map(of).fold(f64::INFINITY, f64::min);
        let mut sides = serde_json::Map::new();
        for (side, measured) in &measured {
            let value = match measured {
                Ok(measured) => {
                    print_row(work, *side, measured, best_of_ours);
                    json!({
                        "secs": measured.secs,
                        "median": measured.median(),
                        "told": measured.told,
                        "memory": measured.memory,
                        "amount": measured.amount,
                    })
                }
                Err(error) => {
                    println!("  {:<28} MISSING: {}", side.name(), first_line(error));
                    json!({ "error": error })
                }
            };
            sides.insert(side.name().to_owned(), value);
        }
        self.compare_losses(work, &measured);
        self.keep_ratio(work, &measured, best_of_ours);
        self.works.push(json!({
            "group": work.group,
            "place": format!("{:?}", work.place),
            "name": work.name,
            "operations": work.operations,
            "tokens": work.tokens,
            "sides": sides,
        }));
    }

    /// Keeps the ratio of the best peer in a browser to our best; quantized weights are compared with the peers' f32.
    fn keep_ratio(
        &mut self,
        work: &Work,
        measured: &[(Side, Result<Measured, String>)],
        best_of_ours: f64,
    ) {
        let medians = measured.iter().filter(|(side, _)| side.is_peer());
        let medians = medians.filter_map(|(_, measured)| measured.as_ref().ok()?.median());
        let mut best_of_peers = medians.fold(f64::INFINITY, f64::min);
        let mut kind = format!("{:?}", work.place);
        if work.group == "matmul"
            && let Some((product, weights)) = work.name.rsplit_once(' ')
        {
            let product = format!("{kind} {product}");
            if weights == "f32" {
                self.dense_peers.insert(product, best_of_peers);
            } else if let Some(&dense) = self
                .dense_peers
                .get(&product)
                .filter(|&&dense| dense.is_finite())
            {
                println!(
                    "  the peers' best in f32: {:.2} x ours",
                    dense / best_of_ours
                );
                best_of_peers = dense;
            }
            kind = format!("{kind} {weights}");
        } else if work.group == "step" {
            kind = format!("{kind}, {}", work.name);
        }
        let ratio = best_of_peers / best_of_ours;
        if ratio.is_finite() && ratio > 0.0 && work.group != "agreement" {
            self.ratios
                .entry((work.group, kind))
                .or_default()
                .push(ratio);
        }
    }

    /// Sides that draw the same model must report the same losses; otherwise a comparison of speed would mean nothing.
    fn compare_losses(&mut self, work: &Work, measured: &[(Side, Result<Measured, String>)]) {
        let draws = |side: Side| work.group == "agreement" || !side.name().starts_with("PyTorch");
        let mut curves: Vec<(Side, Vec<f64>)> = Vec::new();
        for (side, measured) in measured {
            if let Ok(measured) = measured
                && draws(*side)
                && work.group != "real"
            {
                let losses = measured.told["losses"].as_array();
                let losses = losses.into_iter().flatten().filter_map(Value::as_f64);
                curves.push((*side, losses.collect()));
            }
        }
        let Some((first, expected)) = curves.first().filter(|(_, losses)| !losses.is_empty())
        else {
            return;
        };
        for (side, losses) in &curves[1..] {
            let differences = losses
                .iter()
                .zip(expected)
                .take(COMPARED_STEPS)
                .map(|(loss, expected)| (loss - expected).abs() / expected.abs());
            let largest = differences.fold(0.0, f64::max);
            if largest > MAX_LOSS_DIFFERENCE || losses.is_empty() {
                let what = format!(
                    "{}: {} and {} differ by {largest:.1e}",
                    work.name,
                    first.name(),
                    side.name()
                );
                println!("  DISAGREE {what}");
                self.disagreements.push(what);
            }
        }
        if curves.len() > 1 && self.disagreements.is_empty() {
            println!(
                "  losses of {} sides agree over their first steps",
                curves.len()
            );
        }
    }

    /// Prints the ratio of the best peer to our best over all workloads.
    pub fn summarize(&self) {
        if !self.ratios.is_empty() {
            println!("\n== the best peer's time as a multiple of our best: least, median, most");
        }
        for ((group, kind), ratios) in &self.ratios {
            let [least, median, most] = spread(ratios);
            println!(
                "{group:<8} {kind:<48} {least:6.2} {median:6.2} {most:6.2}  of {}",
                ratios.len()
            );
        }
    }

    /// Writes everything known so far as JSON.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BenchError> {
        let ratios = self.ratios.iter().map(|((group, kind), ratios)| {
            let [least, median, most] = spread(ratios);
            let told =
                json!({ "least": least, "median": median, "most": most, "of": ratios.len() });
            (format!("{group} {kind}"), told)
        });
        let json = json!({
            "machine": self.machine,
            "sides": self.sides,
            "missing": self.missing,
            "disagreements": self.disagreements,
            "others": self.others,
            "ratios": ratios.collect::<serde_json::Map<_, _>>(),
            "works": self.works,
        });
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| BenchError::File(folder.to_owned(), error))?;
        }
        std::fs::write(path, serde_json::to_string_pretty(&json)? + "\n")
            .map_err(|error| BenchError::File(path.to_owned(), error))
    }
}

/// The minimum, median and maximum of some numbers.
fn spread(numbers: &[f64]) -> [f64; 3] {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    [
        at(0),
        at(sorted.len() / 2),
        at(sorted.len().saturating_sub(1)),
    ]
}

/// `  side   median (least-most)   rate   its time as a multiple of ours   memory`
fn print_row(work: &Work, side: Side, measured: &Measured, best_of_ours: f64) {
    let Some(median) = measured.median() else {
        return println!("  {:<28} MISSING: no turn", side.name());
    };
    let least = measured.secs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = measured.secs.iter().copied().fold(0.0, f64::max);
    let rate = match (work.operations.or(measured.amount), work.tokens) {
        (Some(amount), _) => format!("{:8.2} G/s", amount / median / 1e9),
        (None, Some(tokens)) => format!("{:8.1} tok/s", tokens as f64 / median),
        (None, None) if work.group == "packing" => packing_rates(&measured.told),
        (None, None) => answer_rate(&measured.told),
    };
    let ratio = if side.is_ours() || !best_of_ours.is_finite() {
        String::new()
    } else {
        format!("{:6.2} x ours", median / best_of_ours)
    };
    let memory = memory(&measured.memory);
    let dispatches = measured.told["dispatches"].as_f64();
    let dispatches = dispatches.map_or(String::new(), |count| format!("  {count:.0} dispatches"));
    println!(
        "  {:<28} {} ({} - {})  {rate}  {ratio}{memory}{dispatches}",
        side.name(),
        secs(median),
        secs(least),
        secs(most)
    );
}

fn answer_rate(told: &Value) -> String {
    let number = |key: &str| told[key].as_f64();
    match (number("newTokens"), number("restSecs"), number("firstSecs")) {
        // The first text comes with the first token.
        (Some(tokens), Some(rest), Some(first)) if rest > 0.0 => {
            format!(
                "{:8.1} tok/s, the first after {}",
                (tokens - 1.0) / rest,
                secs(first)
            )
        }
        _ => String::new(),
    }
}

/// The tokens per second without padding, and the ratio of the two.
fn packing_rates(told: &Value) -> String {
    let numbers = |key: &str| -> Vec<f64> {
        let numbers = told[key].as_array().into_iter().flatten();
        numbers.filter_map(Value::as_f64).collect()
    };
    let [_, unpacked, _] = spread(&numbers("unpackedSecs"));
    let [_, packed, _] = spread(&numbers("packedSecs"));
    let tokens = told["tokens"].as_f64().unwrap_or(f64::NAN);
    format!(
        "{:.1} tok/s unpacked ({} steps), {:.1} tok/s packed ({} steps): {:.2} x",
        tokens / unpacked,
        told["unpackedSteps"],
        tokens / packed,
        told["packedSteps"],
        unpacked / packed
    )
}

fn memory(memory: &Value) -> String {
    let megabytes = |key: &str| memory[key].as_f64().map(|bytes| bytes / 1e6);
    let part = |what: &str, value: Option<f64>| {
        value.map_or(String::new(), |value| format!("  {what} {value:.0} MB"))
    };
    part("wasm", megabytes("wasmBytes")) + &part("device", megabytes("deviceBytesReserved"))
}

fn secs(secs: f64) -> String {
    match secs {
        secs if secs < 0.1 => format!("{:7.2} ms", secs * 1e3),
        secs => format!("{secs:7.3} s "),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The processor's name, if Linux reveals it.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split(':').nth(1)?.trim().to_owned())
}

/// The load average of the last minute, if Linux reveals it: on a busy machine only ratios count.
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}
