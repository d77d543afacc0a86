//! What became of files that were given, in words.

use super::{Sample, Sorted, listed};
use crate::state::Step;
use crate::state::format::counted;

/// What was used, what was skipped, and what could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Intake {
    pub taken: Vec<(Step, String)>,
    pub passed_over: Option<String>,
    /// A sentence or two for each thing that was not used.
    pub remarks: Vec<String>,
}

impl Intake {
    /// What to say about sorted files. `None` if it is obvious: all of them went where they were chosen.
    pub fn of(files: &[Sample], sorted: &Sorted, chosen_for: Option<Step>) -> Option<Self> {
        let names = |indices: &[usize]| {
            let names = indices.iter().map(|&index| files[index].path.as_str());
            listed(names)
        };
        let mut taken = Vec::new();
        for (step, indices) in [(Step::Model, &sorted.model), (Step::Data, &sorted.dataset)] {
            if !indices.is_empty() {
                taken.push((step, names(indices)));
            }
        }
        let adapters = sorted.adapters.iter();
        taken.extend(adapters.map(|adapter| (Step::Try, names(adapter))));
        // A card gives no rows.
        let mut left = [sorted.passed_over.as_slice(), &sorted.cards].concat();
        left.sort_unstable();
        let passed_over = (!left.is_empty()).then(|| names(&left));
        let intake = Self {
            taken,
            passed_over,
            remarks: sorted.remarks.clone(),
        };
        let goes_without_saying = chosen_for.is_some()
            && intake.passed_over.is_none()
            && intake.remarks.is_empty()
            && intake
                .taken
                .iter()
                .all(|(step, _)| Some(*step) == chosen_for);
        (!goes_without_saying).then_some(intake)
    }

    /// What to say if there was no file at all.
    pub fn of_nothing() -> Self {
        Self {
            remarks: vec!["There is no file in what you dropped.".to_owned()],
            ..Self::default()
        }
    }

    /// What to say about pasted text.
    pub fn of_text(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        let what = format!("the pasted text, {}", counted(lines as u64, "line"));
        Self {
            taken: vec![(Step::Data, what)],
            ..Self::default()
        }
    }

    /// What to say about a pasted address, which is not text to learn from; `None` for other text.
    pub fn of_address(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_address = text.starts_with("https://") || text.starts_with("http://");
        (is_address && !text.contains(char::is_whitespace)).then(|| Self {
            remarks: vec![
                "That is an address, and this page downloads nothing. Download the file yourself and drop it here."
                    .to_owned(),
            ],
            ..Self::default()
        })
    }
}

/// The label of the files of a step.
pub fn noun(step: Step) -> &'static str {
    match step {
        Step::Model => "Model",
        Step::Data => "Dataset",
        Step::Train => "Settings",
        _ => "Adapter",
    }
}
