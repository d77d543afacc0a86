//! What the user asks of a run, and what it will cost. Hyper-parameters carry HF's names and defaults in the spirit
//! of `peft.LoraConfig` and `transformers.TrainingArguments`.

use serde::{Deserialize, Serialize};

use super::{AdapterId, AdapterSpec, DataSpec, Precision};

/// Everything that determines a run, besides model and dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    pub adapter: AdapterSpec,
    /// Goes on with this adapter instead of a new one, whose form it keeps: of `adapter` only the dropout counts.
    #[serde(default)]
    pub initial_adapter: Option<AdapterId>,
    pub data: DataSpec,
    pub learning_rate: f64,
    pub lr_scheduler_type: LrSchedulerType,
    /// Share of the steps over which the rate rises from 0.
    pub warmup_ratio: f64,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    /// Gradients are scaled down to this global norm; 0 is off.
    pub max_grad_norm: f64,
    #[serde(default)]
    pub precision: PrecisionChoice,
    pub num_train_epochs: f64,
    /// Ends the run after this many steps whatever the epochs; 0 is off.
    pub max_steps: u64,
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    /// Puts rows together to rows of up to `max_seq_length` tokens, none of which sees another; a micro-batch is so many
    /// of these. As `trl.SFTConfig` calls it.
    #[serde(default)]
    pub packing: bool,
    /// Batches rows of like length, so that little is padding.
    #[serde(default)]
    pub group_by_length: bool,
    /// Evaluates the held-out rows every so many steps; 0 leaves it to the engine (about ten times a run).
    pub eval_steps: u64,
    /// Seeds the split, the order of rows, the adapter's start and dropout.
    pub seed: u64,
}

impl Default for RunSpec {
    fn default() -> Self {
        Self {
            adapter: AdapterSpec::default(),
            initial_adapter: None,
            data: DataSpec::default(),
            learning_rate: 1e-3,
            lr_scheduler_type: LrSchedulerType::Cosine,
            warmup_ratio: 0.05,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            precision: PrecisionChoice::Automatic,
            num_train_epochs: 3.0,
            max_steps: 0,
            per_device_train_batch_size: 4,
            gradient_accumulation_steps: 1,
            packing: false,
            group_by_length: false,
            eval_steps: 0,
            seed: 42,
        }
    }
}

/// In which numbers the blocks compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionChoice {
    /// As the device's self-test found best.
    #[default]
    Automatic,
    /// 32 bits, whatever the device.
    Single,
}

impl PrecisionChoice {
    /// On a device of that precision.
    pub fn on(self, device: Precision) -> Precision {
        match self {
            Self::Automatic => device,
            Self::Single => Precision::Single,
        }
    }
}

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    Cosine,
    Linear,
    Constant,
}

/// What a run will be, before it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanSummary {
    pub spec: RunSpec,
    pub num_steps: u64,
    pub steps_per_epoch: u64,
    pub trainable_parameters: u64,
    /// Peak of the device's memory while training.
    pub estimated_memory_bytes: u64,
    /// How long the run will take, if the device's speed with this model was measured.
    #[serde(default)]
    pub estimated_secs: Option<f64>,
    pub warnings: Vec<String>,
}
