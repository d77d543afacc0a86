//! Something loaded, while its successor may be loading.

use protocol::Phase;

/// What is loaded and what is loading. A failed load changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot<T> {
    pub loaded: Option<T>,
    pub loading: Option<Loading>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            loaded: None,
            loading: None,
        }
    }
}

impl<T> Slot<T> {
    pub fn begin(&mut self, name: impl Into<String>) {
        self.loading = Some(Loading::new(name));
    }
}

/// How far a load has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loading {
    pub name: String,
    pub phase: Option<Phase>,
    /// In the unit of the phase: bytes or rows.
    pub done: u64,
    pub total: Option<u64>,
}

impl Loading {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    pub fn advance(&mut self, phase: Phase, done: u64, total: Option<u64>) {
        self.phase = Some(phase);
        self.done = done;
        self.total = total;
    }

    /// The share done from 0 to 1, if the total is known.
    pub fn ratio(&self) -> Option<f64> {
        ratio(self.done, self.total)
    }
}

/// `done / total`, if the total is known and not 0.
pub fn ratio(done: u64, total: Option<u64>) -> Option<f64> {
    let total = total.filter(|&total| total > 0)?;
    Some((done as f64 / total as f64).clamp(0.0, 1.0))
}
