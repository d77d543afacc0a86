//! The table of settings, and next to it what determines a run: a new setting of runs is a field of [`RunSpec`] with its
//! default, and a line of [`SETTINGS`].

use serde::{Deserialize, Serialize};

use super::Access::{
    Alphas, Choice, FileSides, Layers, LeftOut, Modules, Ranks, Real, Size, Switch, Whole,
};
use super::{Access, At, Counts, Group, Reals, Setting};
use crate::{
    AdapterId, AdapterSpec, DataSpec, LrSchedulerType, Method, MethodFacts, PrecisionChoice,
};

/// Everything that determines a run, besides model and dataset. Hyper-parameters carry HF's names, and defaults in the
/// spirit of `peft.LoraConfig` and `transformers.TrainingArguments`.
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

impl RunSpec {
    /// The run to begin with under a method.
    pub fn of_method(method: Method) -> Self {
        let facts = method.facts();
        Self {
            adapter: AdapterSpec {
                method,
                r: facts.rank,
                target_modules: facts.target_modules.to_vec(),
                ..AdapterSpec::default()
            },
            learning_rate: facts.learning_rate,
            ..Self::default()
        }
    }
}

/// Where a value is: `at!(run.seed)` is the field `run.seed` of [`super::Settings`].
macro_rules! at {
    ($($field:ident).+) => {
        At { get: |settings| &settings.$($field).+, get_mut: |settings| &mut settings.$($field).+ }
    };
}

const RANKS: Counts = counts(1, 256);
/// Far beyond any use.
const ALPHAS: Reals = above(0.0, 65_536.0);
const STEPS: Counts = counts(0, 10_000_000);
/// Rows of a batch and batches of a step.
const BATCHES: Counts = counts(1, 4096);
const TOKENS: u64 = 131_072;
const SPLITS: Reals = from(0.0, 0.9);
/// Every number in JSON of this size is exact in every language.
const SEEDS: Counts = counts(0, (1 << 53) - 1);

/// All settings. Their order is that of the page and of the README.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    setting(Group::Adapter, "Method", "method",
        "How the adapter changes the model",
        Choice(&at!(run.adapter.method))).of_adapter(|_| true),
    setting(Group::Adapter, "Rank", "r",
        "Capacity: higher learns more",
        Size(RANKS, at!(run.adapter.r))).of_adapter(|facts| facts.has_rank),
    setting(Group::Adapter, "Alpha", "lora_alpha",
        "Strength is alpha / rank",
        Real(ALPHAS, at!(run.adapter.lora_alpha))).of_adapter(|facts| facts.has_alpha),
    setting(Group::Adapter, "Learning rate ratio", "loraplus_lr_ratio",
        "B's learning rate as a multiple of A's",
        Real(above(0.0, 1000.0), at!(run.adapter.loraplus_lr_ratio))).of_adapter(|facts| facts.has_lr_ratio),
    setting(Group::Adapter, "Virtual tokens", "num_virtual_tokens",
        "Learned tokens before every row",
        Size(counts(1, 256), at!(run.adapter.num_virtual_tokens))).of_adapter(|facts| facts.has_prompt),
    setting(Group::Adapter, "Dropout", "lora_dropout",
        "0 turns it off",
        Real(from(0.0, 0.95), at!(run.adapter.lora_dropout))).used(|facts| facts.has_rank),
    setting(Group::Adapter, "Target modules", "target_modules",
        "Layers to train, separated by commas or spaces",
        Modules(at!(run.adapter.target_modules))).of_adapter(|facts| facts.has_modules),

    setting(Group::Schedule, "Learning rate", "learning_rate",
        "Size of each step",
        Real(above(0.0, 1.0), at!(run.learning_rate))),
    setting(Group::Schedule, "Epochs", "num_train_epochs",
        "Passes through the data",
        Real(from(0.0, 10_000.0), at!(run.num_train_epochs))).unless(|run| {
            let is_endless = run.num_train_epochs == 0.0 && run.max_steps == 0;
            is_endless.then_some("0 is not possible; it must be above 0 (or 0 where max steps is set) and at most 10000.")
        }),
    setting(Group::Schedule, "Max steps", "max_steps",
        "0 means no limit",
        Whole(STEPS, at!(run.max_steps))),
    setting(Group::Schedule, "Batch size", "per_device_train_batch_size",
        "Rows processed at once",
        Size(BATCHES, at!(run.per_device_train_batch_size))),
    setting(Group::Schedule, "Gradient accumulation", "gradient_accumulation_steps",
        "Batches per step",
        Size(BATCHES, at!(run.gradient_accumulation_steps))),
    setting(Group::Schedule, "Seed", "seed",
        "Same seed, same run",
        Whole(SEEDS, at!(run.seed))),

    setting(Group::More, "Scheduler", "lr_scheduler_type",
        "How the learning rate falls after warm-up",
        Choice(&at!(run.lr_scheduler_type))),
    setting(Group::More, "Warm-up", "warmup_ratio",
        "Share of steps, 0 to 1",
        Real(from(0.0, 1.0), at!(run.warmup_ratio))),
    setting(Group::More, "Weight decay", "weight_decay",
        "0 turns it off",
        Real(from(0.0, 1.0), at!(run.weight_decay))),
    setting(Group::More, "Clipping", "max_grad_norm",
        "Maximum gradient norm; 0 turns it off",
        Real(from(0.0, 1e6), at!(run.max_grad_norm))),
    setting(Group::More, "Evaluate every", "eval_steps",
        "In steps; 0 is automatic",
        Whole(STEPS, at!(run.eval_steps))),
    setting(Group::More, "Precision", "precision",
        "Automatic uses 16-bit where the GPU is accurate and faster",
        Choice(&at!(run.precision))),
    setting(Group::More, "Adam beta 1", "adam_beta1",
        "How long the optimizer remembers gradients",
        Real(below(0.0, 1.0), at!(run.adam_beta1))),
    setting(Group::More, "Adam beta 2", "adam_beta2",
        "How long it remembers their squares",
        Real(below(0.0, 1.0), at!(run.adam_beta2))),
    setting(Group::More, "Adam epsilon", "adam_epsilon",
        "Keeps tiny gradients from large steps",
        // Below f32's normal numbers it would vanish from the denominator that it guards.
        Real(above(1e-37, 1.0), at!(run.adam_epsilon))),
    setting(Group::More, "Blocks", "layers_to_transform",
        "Such as 10-29; leave empty for all",
        Layers(at!(run.adapter.layers_to_transform))).of_adapter(|facts| facts.has_modules),
    setting(Group::More, "Ranks by module", "rank_pattern",
        "Such as q_proj=16, layers.0.mlp.up_proj=4",
        Ranks(RANKS, at!(run.adapter.rank_pattern))).of_adapter(|facts| facts.has_alpha),
    setting(Group::More, "Alphas by module", "alpha_pattern",
        "Such as q_proj=16, layers.0.mlp.up_proj=4",
        Alphas(ALPHAS, at!(run.adapter.alpha_pattern))).of_adapter(|facts| facts.has_alpha),
    setting(Group::More, "Train norms", "train_norms",
        "Also trains the norms' weights: a few thousand more parameters",
        Switch(at!(run.adapter.train_norms))).of_adapter(|facts| facts.has_modules),
    setting(Group::More, "Train head", "train_head",
        "Also trains the whole output layer: for new words or another language; takes much more memory",
        Switch(at!(run.adapter.train_head))).of_adapter(|facts| facts.has_modules),
    setting(Group::More, "Packing", "packing",
        "Combines short rows into one sequence; they can't see each other. Faster",
        Switch(at!(run.packing))).used(|facts| !facts.has_prompt).unless(|run| {
            let is_prompt = run.packing && run.adapter.method.facts().has_prompt;
            is_prompt.then_some(
                "with prompt tuning, rows cannot be packed, since the learned prompt comes before every row.")
        }),
    setting(Group::More, "Group by length", "group_by_length",
        "Batches rows of similar length, to waste less padding",
        Switch(at!(run.group_by_length))),

    setting(Group::Data, "Sequence length", "max_seq_length",
        "In tokens; longer rows are cut",
        Size(counts(8, TOKENS), at!(run.data.max_seq_length))),
    setting(Group::Data, "Validation split", "validation_split",
        "Share of rows held out, 0 to 0.9",
        Real(SPLITS, at!(run.data.validation_split))),
    setting(Group::Data, "Test split", "test_split",
        "Share held out for a final test; 0 for none",
        Real(SPLITS, at!(run.data.test_split))),
    setting(Group::Data, "Train on", "train_on",
        "What the model learns to write; plain text is always trained whole",
        Choice(&at!(run.data.train_on))),
    setting(Group::Rows, "Left out", "leave_out",
        "Findings whose rows are left out",
        LeftOut(at!(run.data.leave_out))),
    setting(Group::Rows, "Control tokens", "control_tokens",
        "How special tokens that are spelled out in rows are encoded",
        Choice(&at!(run.data.control_tokens))),
    setting(Group::Rows, "Files as splits", "file_sides",
        "What the rows of some files are for, other than by their names",
        FileSides(at!(run.data.file_sides))),
    setting(Group::Rows, "Split seed", "data_seed",
        "Seeds the split; on the page, it is the seed of the run",
        Whole(SEEDS, at!(run.data.seed))),

    setting(Group::Answer, "Max new tokens", "max_new_tokens",
        "Length limit of the answer",
        Size(counts(1, TOKENS), at!(generation.max_new_tokens))),
    setting(Group::Sampling, "Temperature", "temperature",
        "0 always picks the likeliest token",
        Real(from(0.0, 10.0), at!(generation.temperature))),
    setting(Group::Sampling, "Top-k", "top_k",
        "0 turns it off",
        Size(counts(0, 1_000_000), at!(generation.top_k))),
    setting(Group::Sampling, "Top-p", "top_p",
        "1 turns it off",
        Real(above(0.0, 1.0), at!(generation.top_p))),
    setting(Group::Sampling, "Repetition penalty", "repetition_penalty",
        "1 turns it off",
        Real(from(0.1, 10.0), at!(generation.repetition_penalty))),
    setting(Group::Sampling, "Sampling seed", "sampling_seed",
        "Another number gives another answer",
        Whole(SEEDS, at!(generation.seed))),
];

const fn setting(
    group: Group,
    label: &'static str,
    name: &'static str,
    hint: &'static str,
    access: Access,
) -> Setting {
    Setting {
        label,
        name,
        hint,
        group,
        is_of_adapter: false,
        is_used: |_| true,
        conflict: |_| None,
        access,
    }
}

impl Setting {
    /// Part of what an adapter is, by methods that have a use for it.
    const fn of_adapter(mut self, is_used: fn(&MethodFacts) -> bool) -> Self {
        self.is_of_adapter = true;
        self.used(is_used)
    }

    /// For some methods only.
    const fn used(mut self, is_used: fn(&MethodFacts) -> bool) -> Self {
        self.is_used = is_used;
        self
    }

    /// Refused with these words where it does not go with the others.
    const fn unless(mut self, conflict: fn(&RunSpec) -> Option<&'static str>) -> Self {
        self.conflict = conflict;
        self
    }
}

const fn counts(min: u64, max: u64) -> Counts {
    Counts { min, max }
}

/// Both ends included.
const fn from(min: f64, max: f64) -> Reals {
    Reals {
        min,
        max,
        is_above: false,
        is_below: false,
    }
}

/// The lower end excluded.
const fn above(min: f64, max: f64) -> Reals {
    Reals {
        is_above: true,
        ..from(min, max)
    }
}

/// The upper end excluded.
const fn below(min: f64, max: f64) -> Reals {
    Reals {
        is_below: true,
        ..from(min, max)
    }
}
