//! The failure of a run whose numbers are no longer finite: what happened, whether the learning rate can be the cause,
//! and what helps. Nothing is said here about what was kept; the session adds that, since only it knows.
//!
//! | the adapter was changed before | precision | remedy |
//! |---|---|---|
//! | yes | 32-bit | a lower learning rate |
//! | yes | 16-bit | 32-bit, or a lower learning rate |
//! | never | 16-bit | 32-bit |
//! | never | 32-bit | another device or model file; the row, if it is the only one |
//!
//! A warm-up begins with a rate of 0, so "never" can still hold after the first step.

use protocol::{Failure, FailureKind, Precision};

/// What was infinite or not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    /// The loss of a step.
    Loss,
    /// A gradient, at a finite loss.
    Gradient,
    /// A number of the adapter after a step.
    Adapter,
    /// The loss of held-out rows.
    HeldOutLoss {
        /// The number of the first such row, counted from 0.
        row: Option<usize>,
        /// Whether the rows before or after it are fine.
        is_alone: bool,
    },
}

impl NonFinite {
    /// Tells which of the two numbers of a step is not finite; one of them is not.
    pub fn of_step(loss: f64) -> Self {
        if loss.is_finite() {
            Self::Gradient
        } else {
            Self::Loss
        }
    }

    /// Adds where it happened: in step `step`, or in the evaluation after it; see [`NonFiniteAt`].
    pub fn at(self, step: u64, learned_at: Option<f64>, precision: Precision) -> NonFiniteAt {
        NonFiniteAt {
            what: self,
            step,
            learned_at,
            precision,
        }
    }

    /// What happened, for a run that has learned something.
    fn in_training(self) -> String {
        let what = match self {
            Self::Loss => "The loss became infinite or not a number.",
            Self::Gradient => "A gradient became infinite or not a number.",
            Self::Adapter => "The adapter's numbers became too large.",
            Self::HeldOutLoss { .. } => {
                "The loss on the held-out rows became infinite or not a number."
            }
        };
        what.to_owned()
    }

    /// What happened, for a run whose adapter is still as it started.
    fn at_the_start(self, step: u64) -> String {
        let what = match self {
            Self::Loss | Self::Adapter => "loss",
            Self::Gradient => "gradient",
            Self::HeldOutLoss { .. } => "loss on the held-out rows",
        };
        let when = match step {
            0 => "before the first step",
            _ => "before the adapter had learned anything",
        };
        format!("The model's {what} was infinite or not a number {when}.")
    }

    /// What helps where the adapter has not changed yet.
    fn of_start(self, precision: Precision) -> String {
        let cause = "The learning rate is not the cause.";
        let row = match self {
            Self::HeldOutLoss {
                row: Some(row),
                is_alone: true,
            } => format!(" Look at row {}: the other rows are fine.", row + 1),
            _ => String::new(),
        };
        match precision {
            Precision::Half => {
                format!("{cause}{row} Choose 32-bit as the precision and start again.")
            }
            Precision::Single => format!(
                "{cause}{row} Try the CPU as the device, or another file of the model: this one may be damaged."
            ),
        }
    }
}

/// Where numbers were not finite, and under which settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NonFiniteAt {
    /// Which numbers.
    pub what: NonFinite,
    /// The optimizer step, counted from 1, that failed or that the evaluation followed; 0 is the base.
    pub step: u64,
    /// The latest learning rate at which the adapter was changed before; `None` if it never was: then the model itself
    /// gives such numbers.
    pub learned_at: Option<f64>,
    /// The precision in which the blocks computed.
    pub precision: Precision,
}

impl NonFiniteAt {
    /// Makes what the user reads: kind [`FailureKind::NonFinite`], the step, row and rate as its place, and a remedy.
    ///
    /// ```text
    /// A gradient became infinite or not a number.     at: step 12, learning rate 1.00e-2
    /// Lower the learning rate (a tenth is a good try) and start again.
    /// ```
    pub fn failure(self) -> Failure {
        let Self {
            what: of,
            step,
            learned_at,
            precision,
        } = self;
        let (what, remedy) = match learned_at {
            Some(_) => (of.in_training(), of_training(precision).to_owned()),
            None => (of.at_the_start(step), of.of_start(precision)),
        };
        let rate = learned_at.map_or(String::new(), |rate| format!(", learning rate {rate:.2e}"));
        let row = match of {
            NonFinite::HeldOutLoss { row: Some(row), .. } => format!(", row {}", row + 1),
            _ => String::new(),
        };
        Failure::new(FailureKind::NonFinite, what)
            .at(format!("step {step}{row}{rate}"))
            .remedy(remedy)
    }
}

/// What helps where the adapter has changed.
fn of_training(precision: Precision) -> &'static str {
    match precision {
        Precision::Single => "Lower the learning rate (a tenth is a good try) and start again.",
        // Halves end at 65504.
        Precision::Half => {
            "Choose 32-bit as the precision, or lower the learning rate (a tenth is a good try), and start again."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [NonFinite; 4] = [
        NonFinite::Loss,
        NonFinite::Gradient,
        NonFinite::Adapter,
        NonFinite::HeldOutLoss {
            row: Some(6),
            is_alone: true,
        },
    ];

    #[test]
    fn what_ends_in_halves_can_be_tried_in_single_precision() {
        for (precision, is_named) in [(Precision::Half, true), (Precision::Single, false)] {
            for what in ALL {
                for learned_at in [None, Some(1e-3)] {
                    let failure = what.at(3, learned_at, precision).failure();
                    assert_eq!(failure.kind, FailureKind::NonFinite);
                    let remedy = failure.remedy.unwrap();
                    assert_eq!(remedy.contains("32-bit"), is_named, "{remedy}");
                }
            }
        }
    }

    #[test]
    fn the_rate_is_to_blame_only_where_it_changed_something() {
        for what in ALL {
            for precision in [Precision::Half, Precision::Single] {
                let learned = what.at(3, Some(1e-3), precision).failure();
                assert!(learned.remedy.unwrap().contains("ower the learning rate"));
                assert!(learned.place.unwrap().contains("learning rate 1.00e-3"));
                let base = what.at(0, None, precision).failure();
                let remedy = base.remedy.unwrap();
                assert!(remedy.starts_with("The learning rate is not the cause."));
                assert!(!remedy.contains("ower the learning rate"), "{remedy}");
                assert!(!base.what.contains("kept") && !base.place.unwrap().contains("rate"));
                assert!(
                    base.what.ends_with("before the first step."),
                    "{}",
                    base.what
                );
            }
        }
    }

    #[test]
    fn a_row_is_named_as_the_page_counts_it() {
        let failure = ALL[3].at(0, None, Precision::Single).failure();
        assert_eq!(failure.place.as_deref(), Some("step 0, row 7"));
        assert!(
            failure
                .remedy
                .unwrap()
                .contains("Look at row 7: the other rows are fine.")
        );
        let all = NonFinite::HeldOutLoss {
            row: Some(6),
            is_alone: false,
        };
        let failure = all.at(0, None, Precision::Single).failure();
        assert!(!failure.remedy.unwrap().contains("row 7"));
    }
}
