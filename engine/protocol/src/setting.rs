//! Everything that can be set, as a table: each setting is one line of [`SETTINGS`].
//!
//! The page draws its forms from the table, the engine checks with it, recipes are written and read through it, and the
//! README lists it. What needs a model or a dataset to be judged (ranks against widths, memory) is the engine's to say.

mod choice;
mod range;
mod table;

use std::collections::BTreeMap;

pub use choice::{Choice, Choosable};
pub use range::{Counts, Reals};
pub use table::{RunSpec, SETTINGS};

use super::{FileSide, FindingKind, GenerationSpec, LayerRange, MethodFacts, TargetModule};

/// All settings with their values.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    pub run: RunSpec,
    /// Without conversations.
    pub generation: GenerationSpec,
}

impl From<&RunSpec> for Settings {
    fn from(run: &RunSpec) -> Self {
        Self {
            run: run.clone(),
            ..Self::default()
        }
    }
}

/// A line of the table.
pub struct Setting {
    /// The accessible name of its control on the page, and its name in failures.
    pub label: &'static str,
    /// Its name in recipes: where they have it, that of `peft.LoraConfig`, `transformers.TrainingArguments` or
    /// `transformers.GenerationConfig`.
    pub name: &'static str,
    /// What it does, in a few words.
    pub hint: &'static str,
    pub group: Group,
    /// Whether it is part of what an adapter is, and so is given where a run continues one.
    pub is_of_adapter: bool,
    /// Whether a method has a use for it.
    pub is_used: fn(&MethodFacts) -> bool,
    /// Why its value, although within its limits, does not go with the others.
    pub conflict: fn(&RunSpec) -> Option<&'static str>,
    pub access: Access,
}

/// Where a setting is on the page. Within a group, the table's order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    Adapter,
    Schedule,
    /// Under *More settings*.
    More,
    /// In the step of the data.
    Data,
    /// In the step of the data as well, but set where the page shows what they are about: findings and files.
    Rows,
    /// Next to the prompt.
    Answer,
    /// Under *Sampling settings*.
    Sampling,
}

impl Group {
    /// Whether its settings belong to a run, and so to a recipe.
    pub fn is_of_run(self) -> bool {
        !matches!(self, Self::Answer | Self::Sampling)
    }

    /// Whether its settings say how rows become examples.
    pub fn is_of_data(self) -> bool {
        matches!(self, Self::Data | Self::Rows)
    }
}

/// Where the value of a setting is.
pub struct At<T: 'static> {
    pub get: fn(&Settings) -> &T,
    pub get_mut: fn(&mut Settings) -> &mut T,
}

/// What a setting holds, where, and within which limits.
pub enum Access {
    Whole(Counts, At<u64>),
    Size(Counts, At<usize>),
    Real(Reals, At<f64>),
    Switch(At<bool>),
    Choice(&'static dyn Choice),
    Modules(At<Vec<TargetModule>>),
    Layers(At<Option<LayerRange>>),
    /// Ranks of some modules, by name or path.
    Ranks(Counts, At<BTreeMap<String, usize>>),
    /// Alphas of some modules, by name or path.
    Alphas(Reals, At<BTreeMap<String, f64>>),
    LeftOut(At<Vec<FindingKind>>),
    FileSides(At<Vec<FileSide>>),
}

impl Setting {
    /// The settings of a run, in the table's order.
    pub fn of_runs() -> impl Iterator<Item = &'static Self> {
        SETTINGS.iter().filter(|line| line.group.is_of_run())
    }

    /// The settings of answers, in the table's order.
    pub fn of_answers() -> impl Iterator<Item = &'static Self> {
        SETTINGS.iter().filter(|line| !line.group.is_of_run())
    }

    /// What must be changed of its value, if anything, each a sentence that begins with the value.
    pub fn problems(&self, settings: &Settings) -> Vec<String> {
        let run = &settings.run;
        let is_used = (self.is_used)(run.adapter.method.facts());
        let mut problems = match &self.access {
            // A value that is not used does no harm, but no file can hold one that is not finite.
            Access::Real(reals, at) if !is_used && (at.get)(settings).is_finite() => Vec::new(),
            Access::Real(reals, at) => reals.refuse(*(at.get)(settings)).into_iter().collect(),
            _ if !is_used => Vec::new(),
            Access::Whole(counts, at) => counts.refuse(*(at.get)(settings)).into_iter().collect(),
            Access::Size(counts, at) => {
                let value = *(at.get)(settings);
                counts.refuse(value as u64).into_iter().collect()
            }
            Access::Modules(at) => module_problems((at.get)(settings)),
            Access::Ranks(counts, at) => {
                let entries = (at.get)(settings).iter();
                let refused = entries.filter(|&(_, &rank)| !counts.contains(rank as u64));
                refused
                    .map(|(key, rank)| format!("{key} is {rank}; it must be {}.", counts.words()))
                    .collect()
            }
            Access::Alphas(reals, at) => {
                let entries = (at.get)(settings).iter();
                let refused = entries.filter(|&(_, &alpha)| !reals.contains(alpha));
                refused
                    .map(|(key, alpha)| format!("{key} is {alpha}; it must be {}.", reals.words()))
                    .collect()
            }
            Access::Switch(_)
            | Access::Choice(_)
            | Access::Layers(_)
            | Access::LeftOut(_)
            | Access::FileSides(_) => Vec::new(),
        };
        if problems.is_empty() {
            problems.extend((self.conflict)(run).map(str::to_owned));
        }
        problems
    }

    /// The first number of it that is NaN or infinite.
    pub fn non_finite(&self, settings: &Settings) -> Option<f64> {
        let is_not = |value: &f64| !value.is_finite();
        match &self.access {
            Access::Real(_, at) => Some(*(at.get)(settings)).filter(is_not),
            Access::Alphas(_, at) => (at.get)(settings).values().copied().find(is_not),
            _ => None,
        }
    }

    /// Its value as a person would type it; empty where nothing can be typed.
    pub fn text(&self, settings: &Settings) -> String {
        match &self.access {
            Access::Whole(_, at) => (at.get)(settings).to_string(),
            Access::Size(_, at) => (at.get)(settings).to_string(),
            Access::Real(_, at) => range::number(*(at.get)(settings)),
            Access::Modules(at) => {
                let names = (at.get)(settings).iter().map(|module| module.name());
                names.collect::<Vec<_>>().join(", ")
            }
            Access::Layers(at) => match (at.get)(settings) {
                Some(LayerRange { first, last }) => format!("{first}-{last}"),
                None => String::new(),
            },
            Access::Ranks(_, at) => {
                let pairs = (at.get)(settings).iter();
                let pairs = pairs.map(|(key, rank)| format!("{key}={rank}"));
                pairs.collect::<Vec<_>>().join(", ")
            }
            Access::Alphas(_, at) => {
                let pairs = (at.get)(settings).iter();
                let pairs = pairs.map(|(key, alpha)| format!("{key}={alpha}"));
                pairs.collect::<Vec<_>>().join(", ")
            }
            Access::Switch(_) | Access::Choice(_) | Access::LeftOut(_) | Access::FileSides(_) => {
                String::new()
            }
        }
    }

    /// Whether its value is typed, so that [`Self::text`] says all of it.
    pub fn is_typed(&self) -> bool {
        !matches!(
            self.access,
            Access::Switch(_) | Access::Choice(_) | Access::LeftOut(_) | Access::FileSides(_)
        )
    }

    /// What its value may be, such as `from 1 to 256`.
    pub fn allowed(&self) -> String {
        match &self.access {
            Access::Whole(counts, _) | Access::Size(counts, _) | Access::Ranks(counts, _) => {
                counts.words()
            }
            Access::Real(reals, _) | Access::Alphas(reals, _) => reals.words(),
            Access::Switch(_) => "on or off".to_owned(),
            Access::Choice(choice) => {
                let names = (0..choice.count()).map(|index| choice.label(index));
                names.collect::<Vec<_>>().join(", ")
            }
            Access::Modules(_) => TargetModule::ALL.map(TargetModule::name).join(", "),
            Access::Layers(_) => "a range of blocks".to_owned(),
            Access::LeftOut(_) => "findings".to_owned(),
            Access::FileSides(_) => "files".to_owned(),
        }
    }

    /// What it is at first.
    pub fn first(&self) -> String {
        let settings = Settings::default();
        let first = match &self.access {
            Access::Switch(at) if *(at.get)(&settings) => "on".to_owned(),
            Access::Switch(_) => "off".to_owned(),
            Access::Choice(choice) => choice.label(choice.chosen(&settings)).to_owned(),
            _ => self.text(&settings),
        };
        match first.is_empty() {
            true => "none".to_owned(),
            false => first,
        }
    }

    /// Takes its value from other settings.
    pub fn copy(&self, from: &Settings, to: &mut Settings) {
        match &self.access {
            Access::Whole(_, at) => at.copy(from, to),
            Access::Size(_, at) => at.copy(from, to),
            Access::Real(_, at) => at.copy(from, to),
            Access::Switch(at) => at.copy(from, to),
            Access::Choice(choice) => choice.choose(to, choice.chosen(from)),
            Access::Modules(at) => at.copy(from, to),
            Access::Layers(at) => at.copy(from, to),
            Access::Ranks(_, at) => at.copy(from, to),
            Access::Alphas(_, at) => at.copy(from, to),
            Access::LeftOut(at) => at.copy(from, to),
            Access::FileSides(at) => at.copy(from, to),
        }
    }
}

impl<T: Clone> At<T> {
    fn copy(&self, from: &Settings, to: &mut Settings) {
        (self.get_mut)(to).clone_from((self.get)(from));
    }
}

fn module_problems(chosen: &[TargetModule]) -> Vec<String> {
    if chosen.is_empty() {
        return vec!["none is chosen; choose at least one.".to_owned()];
    }
    let times = |module| chosen.iter().filter(|&&other| other == module).count();
    let all = TargetModule::ALL
        .into_iter()
        .map(|module| (module, times(module)));
    all.filter(|&(_, times)| times > 1)
        .map(|(module, times)| {
            format!("{} is listed {times} times; once is enough.", module.name())
        })
        .collect()
}

#[cfg(test)]
mod tests;
