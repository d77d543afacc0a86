//! Measures a workload on several sides in turn: every side is prepared and warmed up, then all take turns, so that
//! whatever slows down the machine slows down all of them.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    native::PyTorch,
    page::BenchPage,
    plan::{Options, Side, Work, Worker},
};

/// A turn of a quick workload repeats it until about this much time has passed.
const TURN_SECS: f64 = 0.2;
const MAX_TIMES: u64 = 64;
/// A first run that takes longer needs no further warm-up.
const WARM_SECS: f64 = 5.0;
/// After its third turn, a side gets no more turns once it has used this much time.
const FAIR_SHARE_SECS: f64 = 30.0;
/// A peer that is this many times slower than the fastest side, and takes that long, gets only one turn.
const HOPELESS: f64 = 5.0;
const HOPELESS_SECS: f64 = 2.0;
/// The largest error of a product, relative to the size of its operands.
const MAX_ERROR: f64 = 1e-4;

/// The results of a side.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// The seconds of each turn, per run of the workload.
    pub secs: Vec<f64>,
    /// What it reported: errors, losses, tokens.
    pub told: Value,
    /// The memory at the end, for sides that report it.
    pub memory: Value,
    /// The operations, or bytes, of one run, if the side reports them.
    pub amount: Option<f64>,
}

impl Measured {
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.secs.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => None,
            len if len % 2 == 1 => Some(sorted[middle]),
            _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        }
    }
}

pub struct Bench<'a> {
    page: BenchPage<'a>,
    python: Option<PyTorch>,
    options: &'a Options,
    /// What every started worker reports about itself.
    about: BTreeMap<Side, Value>,
    running: Vec<Worker>,
}

impl<'a> Bench<'a> {
    pub fn new(page: BenchPage<'a>, python: Option<PyTorch>, options: &'a Options) -> Self {
        Self {
            page,
            python,
            options,
            about: BTreeMap::new(),
            running: Vec::new(),
        }
    }

    /// What the sides report about themselves.
    pub fn about(&self) -> impl Iterator<Item = (Side, &Value)> {
        self.about.iter().map(|(&side, about)| (side, about))
    }

    /// Measures a workload; an error says why a side has no results.
    pub fn measure(&mut self, work: &Work) -> Vec<(Side, Result<Measured, String>)> {
        // Two sides may share a worker, which holds one workload at a time; the second gets its turns afterwards.
        let mut rounds: Vec<Vec<Side>> = Vec::new();
        for &side in &work.sides {
            let shares =
                |round: &&mut Vec<Side>| round.iter().any(|other| other.worker() == side.worker());
            match rounds.iter_mut().find(|round| !shares(round)) {
                Some(round) => round.push(side),
                None => rounds.push(vec![side]),
            }
        }
        rounds
            .into_iter()
            .flat_map(|round| self.round(work, &round))
            .collect()
    }

    fn round(&mut self, work: &Work, sides: &[Side]) -> Vec<(Side, Result<Measured, String>)> {
        let mut all: Vec<(Side, Result<Measured, String>)> = Vec::new();
        let mut ready: Vec<(Side, f64)> = Vec::new();
        for &side in sides {
            if work.is_fresh {
                self.end(side.worker());
            }
            let prepared = self.prepare(work, side);
            if let Ok((_, secs)) = &prepared {
                ready.push((side, *secs));
            }
            all.push((side, prepared.map(|(measured, _)| measured)));
        }
        let quickest = ready
            .iter()
            .map(|(_, secs)| *secs)
            .fold(f64::INFINITY, f64::min);
        for turn in 0..self.options.repetitions {
            for &(side, secs) in &ready {
                let is_hopeless = secs > (HOPELESS * quickest).max(HOPELESS_SECS) && side.is_peer();
                let has_enough = turn > 2 && turn as f64 * secs > FAIR_SHARE_SECS;
                if (turn > 0 && is_hopeless) || has_enough {
                    continue;
                }
                let times = ((TURN_SECS / secs).ceil() as u64).clamp(1, MAX_TIMES);
                let run = self.run(side, times);
                let entry = all.iter_mut().find(|(other, _)| *other == side);
                if let Some((_, entry)) = entry {
                    match run {
                        Ok(secs) => {
                            if let Ok(measured) = entry {
                                measured.secs.push(secs);
                            }
                        }
                        Err(error) => *entry = Err(error),
                    }
                }
            }
        }
        for (side, measured) in &mut all {
            if let Ok(measured) = measured {
                self.conclude(*side, measured);
            }
            if work.is_fresh {
                self.end(side.worker());
            }
        }
        all
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.options.patience_secs)
    }

    fn call(&mut self, worker: Worker, call: &str, argument: Value) -> Result<Value, String> {
        let answer = match worker {
            Worker::Script(script) => {
                let arguments = if argument.is_null() {
                    json!([])
                } else {
                    json!([argument])
                };
                self.page.call(script, call, arguments, self.patience())
            }
            Worker::Python(key) => {
                let python = self.python.as_mut().ok_or("not there")?;
                python.call(key, call, &argument)
            }
        };
        if answer.is_err() {
            // In any case, the next workload begins with a new worker.
            self.end(worker);
        }
        answer
    }

    fn end(&mut self, worker: Worker) {
        if let Worker::Script(script) = worker {
            self.page.end(script);
        }
        self.running.retain(|running| *running != worker);
    }

    /// Starts a side's worker if it is not running yet.
    fn start(&mut self, side: Side) -> Result<(), String> {
        let worker = side.worker();
        if self.running.contains(&worker) {
            return Ok(());
        }
        let about = match worker {
            Worker::Script(script) => {
                let about = self.page.start(script, self.patience());
                about.inspect_err(|_| self.page.end(script))?
            }
            Worker::Python(_) => {
                let python = self.python.as_ref().ok_or("not there")?;
                if side == Side::PyTorchCuda && !python.has_cuda() {
                    return Err("no CUDA device".to_owned());
                }
                python.about.clone()
            }
        };
        self.about.insert(side, about);
        self.running.push(worker);
        Ok(())
    }

    /// Prepares a side and warms it up; returns the seconds of its second run.
    fn prepare(&mut self, work: &Work, side: Side) -> Result<(Measured, f64), String> {
        self.start(side)?;
        let worker = side.worker();
        let prepared = self.call(worker, "prepare", work.spec(side))?;
        let mut secs = self.call(worker, "run", json!(1))?.as_f64();
        if secs.is_some_and(|secs| secs < WARM_SECS) {
            secs = self.call(worker, "run", json!(1))?.as_f64();
        }
        let mut measured = Measured {
            amount: prepared["amount"].as_f64(),
            ..Measured::default()
        };
        if work.group == "matmul" {
            measured.told = self.call(worker, "check", Value::Null)?;
            let error = measured.told["error"].as_f64().unwrap_or(f64::INFINITY);
            if error > MAX_ERROR {
                return Err(format!("the product is wrong by {error:.1e}"));
            }
        }
        Ok((measured, secs.unwrap_or(f64::INFINITY)))
    }

    fn run(&mut self, side: Side, times: u64) -> Result<f64, String> {
        let secs = self.call(side.worker(), "run", json!(times))?;
        secs.as_f64().ok_or_else(|| "no time was told".to_owned())
    }

    fn conclude(&mut self, side: Side, measured: &mut Measured) {
        let worker = side.worker();
        if measured.told.is_null()
            && let Ok(told) = self.call(worker, "check", Value::Null)
        {
            measured.told = told;
        }
        if side.is_ours()
            && let Ok(memory) = self.call(worker, "memory", Value::Null)
        {
            measured.memory = memory;
        }
        // A failure here has ended the worker already.
        let _ = self.call(worker, "end", Value::Null);
    }
}
