//! Settings that are one of a few values.

use super::{At, Settings};
use crate::{ControlTokens, LrSchedulerType, PrecisionChoice, TrainOn};

/// A value that is one of a few.
pub trait Choosable: Copy + PartialEq + 'static {
    fn all() -> &'static [Self];
    /// As recipes write it.
    fn key(self) -> &'static str;
    /// As the page writes it.
    fn label(self) -> &'static str;
    /// When to choose it, if that is to be said of each.
    fn advice(self) -> Option<&'static str> {
        None
    }
}

/// A setting that is one of a few values, whatever their type.
pub trait Choice: Sync {
    /// How many values there are.
    fn count(&self) -> usize;
    /// As recipes write the value.
    fn key(&self, index: usize) -> &'static str;
    fn label(&self, index: usize) -> &'static str;
    fn advice(&self, index: usize) -> Option<&'static str>;
    /// The index of the chosen value.
    fn chosen(&self, settings: &Settings) -> usize;
    /// Chooses a value; nothing changes where there is none of that index.
    fn choose(&self, settings: &mut Settings, index: usize);
}

impl<T: Choosable> Choice for At<T> {
    fn count(&self) -> usize {
        T::all().len()
    }

    fn key(&self, index: usize) -> &'static str {
        T::all().get(index).map_or("", |value| value.key())
    }

    fn label(&self, index: usize) -> &'static str {
        T::all().get(index).map_or("", |value| value.label())
    }

    fn advice(&self, index: usize) -> Option<&'static str> {
        T::all().get(index).and_then(|value| value.advice())
    }

    fn chosen(&self, settings: &Settings) -> usize {
        let chosen = (self.get)(settings);
        let at = T::all().iter().position(|value| value == chosen);
        at.unwrap_or_default()
    }

    fn choose(&self, settings: &mut Settings, index: usize) {
        if let Some(value) = T::all().get(index) {
            *(self.get_mut)(settings) = *value;
        }
    }
}

impl dyn Choice {
    /// The index of the value that recipes write so.
    pub fn named(&self, name: &str) -> Option<usize> {
        (0..self.count()).find(|&index| self.key(index) == name)
    }
}

impl Choosable for TrainOn {
    fn all() -> &'static [Self] {
        &[Self::AssistantTurns, Self::LastTurn, Self::Everything]
    }

    fn key(self) -> &'static str {
        match self {
            Self::AssistantTurns => "assistant_turns",
            Self::LastTurn => "last_turn",
            Self::Everything => "everything",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::AssistantTurns => "All answers",
            Self::LastTurn => "The last answer",
            Self::Everything => "Everything",
        }
    }
}

impl Choosable for ControlTokens {
    fn all() -> &'static [Self] {
        &[Self::AsTokens, Self::AsText]
    }

    fn key(self) -> &'static str {
        match self {
            Self::AsTokens => "as_tokens",
            Self::AsText => "as_text",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::AsTokens => "As control tokens",
            Self::AsText => "As plain text",
        }
    }
}

impl Choosable for PrecisionChoice {
    fn all() -> &'static [Self] {
        &[Self::Automatic, Self::Single]
    }

    fn key(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Single => "single",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::Single => "32-bit",
        }
    }
}

impl Choosable for LrSchedulerType {
    fn all() -> &'static [Self] {
        &[Self::Cosine, Self::Linear, Self::Constant]
    }

    fn key(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Linear => "linear",
            Self::Constant => "constant",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Cosine => "Cosine",
            Self::Linear => "Linear",
            Self::Constant => "Constant",
        }
    }
}
