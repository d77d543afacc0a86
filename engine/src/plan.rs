//! Turns a request into a planned run: every check of a run and its cost, before anything is allocated.
//!
//! ```text
//! RunSpec + ModelSummary + PreparedSummary + DeviceProfile
//!   -> check     every setting and what they mean together; all problems at once, or
//!   -> RunPlan   steps, precision, memory (memory.rs), warnings
//!        -> Schedule       the learning rate of each step (schedule.rs)
//!        -> TimeEstimate   once the device was measured (time.rs)
//! ```
//!
//! Problems refuse a run; warnings let it start. Everything here is arithmetic on summaries, so the page can ask for a
//! plan after every change of a setting. Steps are counted as transformers' `Trainer` counts them:
//!
//! ```text
//! steps_per_epoch = ceil(ceil(rows / per_device_train_batch_size) / gradient_accumulation_steps)
//! num_steps       = max_steps if > 0, else ceil(num_train_epochs * steps_per_epoch)
//! ```

mod check;
mod memory;
pub mod schedule;
mod time;

pub use check::{PlanError, ProblemKind, SettingProblem};
pub use memory::MemoryEstimate;
pub use time::{RowLengths, Speed, TimeEstimate, measured_tokens};

use protocol::{ModelSummary, PlanSummary, PreparedSummary, RunSpec};

use crate::{
    adapter::{AdapterLayout, ModelShape},
    device::DeviceProfile,
};

/// The number of evaluations if a run leaves it to the engine.
const DEFAULT_NUM_EVALUATIONS: u64 = 10;

/// How far above the usual learning rate of a method a rate is probably not intended.
const TOO_FAST: f64 = 20.0;
/// How far below the usual learning rate a rate is probably not intended.
const TOO_SLOW: f64 = 1000.0;

/// A run whose settings are valid together.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPlan {
    /// The settings as they were requested.
    pub spec: RunSpec,
    /// Optimizer steps of the whole run; at least 1.
    pub num_steps: u64,
    /// Optimizer steps of one pass over the training rows; at least 1.
    pub steps_per_epoch: u64,
    /// Held-out rows are evaluated every so many steps; at least 1.
    pub eval_steps: u64,
    /// The number of parameters that the adapter trains.
    pub trainable_parameters: u64,
    /// What computes the run, with the precision in which it does.
    pub device: DeviceProfile,
    /// What the run will hold at its peak.
    pub memory: MemoryEstimate,
    /// Things that work but are probably not intended.
    pub warnings: Vec<String>,
}

impl RunPlan {
    /// Checks the settings against the model, dataset and device. `dataset` was prepared with `spec.data`; the model's
    /// weights take `resident_bytes` as they were loaded.
    ///
    /// The precision of `device` is what its self-test found; the plan has the one that follows from it and the
    /// settings.
    ///
    /// # Errors
    /// [`PlanError`] with every problem at once, each with its field as the page names it. Memory is checked only if
    /// nothing else is wrong.
    pub fn new(
        spec: &RunSpec,
        model: &ModelSummary,
        dataset: &PreparedSummary,
        device: DeviceProfile,
        resident_bytes: u64,
    ) -> Result<Self, PlanError> {
        check::check(spec, model, dataset)?;
        let steps_per_epoch = steps_per_epoch(spec, num_batched_rows(spec, dataset));
        let num_steps = num_steps(spec, steps_per_epoch);
        let trainable_parameters = trainable_parameters(spec, model);
        let device = DeviceProfile {
            precision: spec.precision.on(device.precision),
            ..device
        };
        let memory = MemoryEstimate::new(spec, model, dataset, device, resident_bytes);
        check::check_memory(memory.total_bytes(), device)?;
        let mut plan = Self {
            spec: spec.clone(),
            num_steps,
            steps_per_epoch,
            eval_steps: eval_steps(spec, num_steps),
            trainable_parameters,
            device,
            memory,
            warnings: Vec::new(),
        };
        plan.warnings = plan.find_warnings(dataset);
        plan.warnings.extend(surplus_rank(spec, model));
        Ok(plan)
    }

    /// Returns a warning about an unusual learning rate; each method has its own usual one.
    fn rate_warning(&self) -> Option<String> {
        let (rate, method) = (self.spec.learning_rate, self.spec.adapter.method);
        let facts = method.facts();
        let (usual, name) = (facts.learning_rate, facts.name);
        if rate >= usual * TOO_FAST {
            Some(format!(
                "A learning rate of {rate} is far above what {name} usually uses, about {usual}: the run will \
                 probably get worse or diverge."
            ))
        } else if rate <= usual / TOO_SLOW {
            Some(format!(
                "A learning rate of {rate} is far below what {name} usually uses, about {usual}: hardly anything \
                 will be learned."
            ))
        } else {
            None
        }
    }

    /// Returns what works but is probably not intended.
    fn find_warnings(&self, dataset: &PreparedSummary) -> Vec<String> {
        let mut warnings = Vec::new();
        let num_warmup_steps = schedule::num_warmup_steps(self.spec.warmup_ratio, self.num_steps);
        if self.num_steps == 1 && num_warmup_steps == 1 {
            warnings.push(
                "The only step is the first of the warm-up, where the learning rate is 0: nothing will be learned. Train more \
                 steps or set the warm-up to 0."
                    .to_owned(),
            );
        } else if self.num_steps > 1 && num_warmup_steps >= self.num_steps {
            warnings.push(
                "The warm-up lasts the whole run, so the full learning rate is never reached."
                    .to_owned(),
            );
        }
        warnings.extend(self.rate_warning());
        if dataset.num_validation_rows == 0 {
            warnings.push(
                "No rows are held out: there will be no validation loss, and the last adapter is kept instead of the \
                 best."
                    .to_owned(),
            );
        }
        if dataset.num_truncated > 0 {
            let all =
                dataset.num_training_rows + dataset.num_validation_rows + dataset.num_test_rows;
            let most = self.spec.data.max_seq_length;
            warnings.push(match dataset.num_truncated {
                1 => format!("1 of {all} rows is longer than {most} tokens and is cut."),
                cut => format!("{cut} of {all} rows are longer than {most} tokens and are cut."),
            });
        }
        if self.spec.packing && self.spec.group_by_length {
            warnings.push("With packing on, grouping by length has no effect.".to_owned());
        }
        if dataset.num_without_target > 0 {
            let rows = match dataset.num_without_target {
                1 => "1 row is left out because it has no tokens".to_owned(),
                rows => format!("{rows} rows are left out because they have no tokens"),
            };
            warnings.push(format!("{rows} to train on."));
        }
        warnings
    }
}

/// The most blocks that are looked at for a rank that is too high.
const MAX_LAYERS: usize = 1024;

/// Returns a warning about a rank that is higher than a matrix can have; it works, but what is above adds nothing.
///
/// A matrix `[out, in]` has rank `min(in, out)` at most. Methods that start from the base are refused instead, in
/// `check`.
fn surplus_rank(spec: &RunSpec, model: &ModelSummary) -> Option<String> {
    let adapter = &spec.adapter;
    let facts = adapter.method.facts();
    if !facts.has_alpha || facts.starts_from_base {
        return None;
    }
    let mut surplus = Vec::new();
    // The settings were checked, but not the model's size; none has as many blocks.
    for (layer, module) in adapter.modules(model.num_hidden_layers.min(MAX_LAYERS)) {
        let (input, output) = model.projection_features(module);
        let (rank, most) = (adapter.rank(layer, module), input.min(output));
        let told = format!("{} has rank {most} at most, not {rank}", module.name());
        if rank > most && !surplus.contains(&told) {
            surplus.push(told);
        }
    }
    (!surplus.is_empty()).then(|| {
        format!(
            "The rank is higher than these weights allow: {}. Training works, but the extra rank learns nothing; choose \
             a lower rank.",
            surplus.join("; ")
        )
    })
}

impl From<&RunPlan> for PlanSummary {
    fn from(plan: &RunPlan) -> Self {
        Self {
            spec: plan.spec.clone(),
            num_steps: plan.num_steps,
            steps_per_epoch: plan.steps_per_epoch,
            trainable_parameters: plan.trainable_parameters,
            estimated_memory_bytes: plan.memory.total_bytes(),
            estimated_secs: None,
            warnings: plan.warnings.clone(),
        }
    }
}

/// Returns the number of parameters that an adapter trains on a model, from the shapes alone.
pub fn trainable_parameters(spec: &RunSpec, model: &ModelSummary) -> u64 {
    AdapterLayout::num_parameters_of(&spec.adapter, &ModelShape::from(model))
}

/// Returns the number of rows that batches are made of: the training rows, or the packed rows they make.
fn num_batched_rows(spec: &RunSpec, dataset: &PreparedSummary) -> usize {
    if spec.packing {
        dataset.num_packed_rows
    } else {
        dataset.num_training_rows
    }
}

/// Returns the number of optimizer steps of one pass over the rows, as transformers counts them; at least 1.
fn steps_per_epoch(spec: &RunSpec, num_rows: usize) -> u64 {
    num_rows
        .div_ceil(spec.per_device_train_batch_size)
        .div_ceil(spec.gradient_accumulation_steps)
        .max(1) as u64
}

/// Returns the optimizer steps of the run; `max_steps` wins over the epochs.
fn num_steps(spec: &RunSpec, steps_per_epoch: u64) -> u64 {
    if spec.max_steps > 0 {
        spec.max_steps
    } else {
        // The checked ranges of both factors keep the product far inside f64's exact integers.
        ((spec.num_train_epochs * steps_per_epoch as f64).ceil() as u64).max(1)
    }
}

/// Returns the steps between evaluations: as set, or about [`DEFAULT_NUM_EVALUATIONS`] of them over the run.
fn eval_steps(spec: &RunSpec, num_steps: u64) -> u64 {
    if spec.eval_steps > 0 {
        spec.eval_steps
    } else {
        num_steps.div_ceil(DEFAULT_NUM_EVALUATIONS).max(1)
    }
}

#[cfg(test)]
mod tests;
