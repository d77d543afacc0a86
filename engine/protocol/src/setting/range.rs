//! The numbers that a setting may be, and how they are told.

/// Whole numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub min: u64,
    pub max: u64,
}

impl Counts {
    pub fn contains(self, value: u64) -> bool {
        (self.min..=self.max).contains(&value)
    }

    /// Such as `from 1 to 256`.
    pub fn words(self) -> String {
        format!("from {} to {}", self.min, self.max)
    }

    pub(super) fn refuse(self, value: u64) -> Option<String> {
        (!self.contains(value))
            .then(|| format!("{value} is not possible; it must be {}.", self.words()))
    }
}

/// Real numbers between two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reals {
    pub min: f64,
    pub max: f64,
    /// Whether `min` itself is excluded.
    pub is_above: bool,
    /// Whether `max` itself is excluded.
    pub is_below: bool,
}

impl Reals {
    /// NaN is in no range.
    pub fn contains(self, value: f64) -> bool {
        let is_above = value > self.min || !self.is_above && value == self.min;
        let is_below = value < self.max || !self.is_below && value == self.max;
        is_above && is_below
    }

    /// Such as `above 0 and at most 1`.
    pub fn words(self) -> String {
        let (min, max) = (number(self.min), number(self.max));
        match (self.is_above, self.is_below) {
            (false, false) => format!("from {min} to {max}"),
            (true, false) => format!("above {min} and at most {max}"),
            (false, true) => format!("at least {min} and below {max}"),
            (true, true) => format!("above {min} and below {max}"),
        }
    }

    pub(super) fn refuse(self, value: f64) -> Option<String> {
        (!self.contains(value)).then(|| {
            let value = number(value);
            format!("{value} is not possible; it must be {}.", self.words())
        })
    }
}

/// A number as people write it: the tiny ones with an exponent.
pub(super) fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-4 {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}
