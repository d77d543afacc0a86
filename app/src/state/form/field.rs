//! The fields: their names, limits and first values. Names are what people, screen readers and scripts know them by.

/// A field of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    Rank,
    Alpha,
    Dropout,
    TargetModules,
    Layers,
    RankPattern,
    AlphaPattern,
    LrRatio,
    VirtualTokens,
    LearningRate,
    Epochs,
    MaxSteps,
    BatchSize,
    GradientAccumulation,
    SequenceLength,
    ValidationSplit,
    TestSplit,
    Seed,
    WarmUp,
    WeightDecay,
    Clipping,
    EvaluateEvery,
    MaxNewTokens,
    Temperature,
    TopK,
    TopP,
    RepetitionPenalty,
    Variation,
}

/// What a field holds, with its limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Whole { min: u64, max: u64 },
    Real { min: f64, max: f64 },
    Modules,
    Layers,
    Pattern,
}

impl Field {
    pub const ALL: [Self; 28] = [
        Self::Rank,
        Self::Alpha,
        Self::Dropout,
        Self::TargetModules,
        Self::Layers,
        Self::RankPattern,
        Self::AlphaPattern,
        Self::LrRatio,
        Self::VirtualTokens,
        Self::LearningRate,
        Self::Epochs,
        Self::MaxSteps,
        Self::BatchSize,
        Self::GradientAccumulation,
        Self::SequenceLength,
        Self::ValidationSplit,
        Self::TestSplit,
        Self::Seed,
        Self::WarmUp,
        Self::WeightDecay,
        Self::Clipping,
        Self::EvaluateEvery,
        Self::MaxNewTokens,
        Self::Temperature,
        Self::TopK,
        Self::TopP,
        Self::RepetitionPenalty,
        Self::Variation,
    ];

    /// Whether it says what an adapter is.
    pub fn is_of_adapter(self) -> bool {
        matches!(
            self,
            Self::Rank
                | Self::Alpha
                | Self::Dropout
                | Self::TargetModules
                | Self::Layers
                | Self::RankPattern
                | Self::AlphaPattern
                | Self::LrRatio
                | Self::VirtualTokens
        )
    }

    /// The field's accessible name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Rank => "Rank",
            Self::Alpha => "Alpha",
            Self::Dropout => "Dropout",
            Self::TargetModules => "Target modules",
            Self::Layers => "Blocks",
            Self::RankPattern => "Ranks by module",
            Self::AlphaPattern => "Alphas by module",
            Self::LrRatio => "Learning rate ratio",
            Self::VirtualTokens => "Virtual tokens",
            Self::LearningRate => "Learning rate",
            Self::Epochs => "Epochs",
            Self::MaxSteps => "Max steps",
            Self::BatchSize => "Batch size",
            Self::GradientAccumulation => "Gradient accumulation",
            Self::SequenceLength => "Sequence length",
            Self::ValidationSplit => "Validation split",
            Self::TestSplit => "Test split",
            Self::Seed => "Seed",
            Self::WarmUp => "Warm-up",
            Self::WeightDecay => "Weight decay",
            Self::Clipping => "Clipping",
            Self::EvaluateEvery => "Evaluate every",
            Self::MaxNewTokens => "Max new tokens",
            Self::Temperature => "Temperature",
            Self::TopK => "Top-k",
            Self::TopP => "Top-p",
            Self::RepetitionPenalty => "Repetition penalty",
            Self::Variation => "Sampling seed",
        }
    }

    /// What the field does, in a few words.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Rank => "Capacity: higher learns more",
            Self::Alpha => "Strength is alpha / rank",
            Self::Dropout => "0 turns it off",
            Self::TargetModules => "Layers to train, separated by commas or spaces",
            Self::Layers => "Such as 10-29; leave empty for all",
            Self::RankPattern | Self::AlphaPattern => "Such as q_proj=16, layers.0.mlp.up_proj=4",
            Self::LrRatio => "B's learning rate as a multiple of A's",
            Self::VirtualTokens => "Learned tokens before every row",
            Self::LearningRate => "Size of each step",
            Self::Epochs => "Passes through the data",
            Self::MaxSteps => "0 means no limit",
            Self::BatchSize => "Rows processed at once",
            Self::GradientAccumulation => "Batches per step",
            Self::SequenceLength => "In tokens; longer rows are cut",
            Self::ValidationSplit => "Share of rows held out, 0 to 0.9",
            Self::TestSplit => "Share held out for a final test; 0 for none",
            Self::Seed => "Same seed, same run",
            Self::WarmUp => "Share of steps, 0 to 1",
            Self::WeightDecay => "0 turns it off",
            Self::Clipping => "Maximum gradient norm; 0 turns it off",
            Self::EvaluateEvery => "In steps; 0 is automatic",
            Self::MaxNewTokens => "Length limit of the answer",
            Self::Temperature => "0 always picks the likeliest token",
            Self::TopK => "0 turns it off",
            Self::TopP => "1 turns it off",
            Self::RepetitionPenalty => "1 turns it off",
            Self::Variation => "Another number gives another answer",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Rank | Self::VirtualTokens => Kind::Whole { min: 1, max: 256 },
            Self::Alpha => Kind::Real {
                min: 1e-3,
                max: 65_536.0,
            },
            Self::Dropout => Kind::Real {
                min: 0.0,
                max: 0.95,
            },
            Self::TargetModules => Kind::Modules,
            Self::Layers => Kind::Layers,
            Self::RankPattern | Self::AlphaPattern => Kind::Pattern,
            Self::LrRatio => Kind::Real {
                min: 0.01,
                max: 1000.0,
            },
            Self::LearningRate => Kind::Real {
                min: 1e-9,
                max: 1.0,
            },
            Self::Epochs => Kind::Real {
                min: 0.01,
                max: 10_000.0,
            },
            Self::MaxSteps | Self::EvaluateEvery => Kind::Whole {
                min: 0,
                max: 10_000_000,
            },
            Self::BatchSize | Self::GradientAccumulation => Kind::Whole { min: 1, max: 4096 },
            Self::SequenceLength => Kind::Whole {
                min: 8,
                max: 131_072,
            },
            Self::ValidationSplit | Self::TestSplit => Kind::Real { min: 0.0, max: 0.9 },
            Self::Seed | Self::Variation => Kind::Whole {
                min: 0,
                max: (1 << 53) - 1,
            },
            Self::WarmUp => Kind::Real { min: 0.0, max: 1.0 },
            Self::WeightDecay => Kind::Real {
                min: 0.0,
                max: 10.0,
            },
            Self::Clipping => Kind::Real { min: 0.0, max: 1e6 },
            Self::MaxNewTokens => Kind::Whole {
                min: 1,
                max: 131_072,
            },
            Self::Temperature => Kind::Real {
                min: 0.0,
                max: 10.0,
            },
            Self::TopK => Kind::Whole {
                min: 0,
                max: 1_000_000,
            },
            Self::TopP => Kind::Real {
                min: 0.01,
                max: 1.0,
            },
            Self::RepetitionPenalty => Kind::Real {
                min: 0.1,
                max: 10.0,
            },
        }
    }

    /// What an empty field means, where it means something.
    pub(super) fn value_if_empty(self) -> Option<u64> {
        matches!(self, Self::MaxSteps | Self::EvaluateEvery).then_some(0)
    }

    pub(super) fn default_text(self) -> &'static str {
        match self {
            Self::Rank => "8",
            Self::Alpha => "16",
            Self::Dropout => "0",
            Self::TargetModules => "q_proj, v_proj",
            Self::Layers | Self::RankPattern | Self::AlphaPattern => "",
            Self::LrRatio => "16",
            Self::VirtualTokens => "20",
            Self::LearningRate => "0.001",
            Self::Epochs => "3",
            Self::MaxSteps => "0",
            Self::BatchSize => "4",
            Self::GradientAccumulation => "1",
            Self::SequenceLength => "512",
            Self::ValidationSplit => "0.1",
            Self::TestSplit => "0",
            Self::Seed => "42",
            Self::WarmUp => "0.05",
            Self::WeightDecay => "0",
            Self::Clipping => "1",
            Self::EvaluateEvery => "0",
            Self::MaxNewTokens => "64",
            Self::Temperature => "0",
            Self::TopK => "0",
            Self::TopP => "1",
            Self::RepetitionPenalty => "1",
            Self::Variation => "0",
        }
    }
}
