//! Converts values to pixels, and chooses the round numbers on an axis.

/// A linear or logarithmic axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Smallest and largest value; both above 0 where `is_log`.
    pub domain: (f64, f64),
    /// The pixels they map to.
    pub range: (f64, f64),
    pub is_log: bool,
}

impl Scale {
    /// An axis over the values from `low` to `high`, widened if they are equal.
    pub fn new((low, high): (f64, f64), range: (f64, f64), is_log: bool) -> Self {
        let is_log = is_log && low > 0.0;
        let domain = match (is_log, high - low > f64::EPSILON * high.abs()) {
            (_, true) => (low, high),
            (true, false) => (low / 1.5, low * 1.5),
            (false, false) => {
                let margin = (low.abs() * 0.1).max(1e-12);
                (low - margin, low + margin)
            }
        };
        Self {
            domain,
            range,
            is_log,
        }
    }

    /// The pixel of a value; values outside are clamped to the axis.
    pub fn pixel_from_value(&self, value: f64) -> f64 {
        let (low, high) = (self.place(self.domain.0), self.place(self.domain.1));
        let ratio = ((self.place(value) - low) / (high - low)).clamp(0.0, 1.0);
        self.range.0 + ratio * (self.range.1 - self.range.0)
    }

    /// The value at a pixel.
    pub fn value_from_pixel(&self, pixel: f64) -> f64 {
        let (low, high) = (self.place(self.domain.0), self.place(self.domain.1));
        let ratio = ((pixel - self.range.0) / (self.range.1 - self.range.0)).clamp(0.0, 1.0);
        let place = low + ratio * (high - low);
        if self.is_log { place.exp() } else { place }
    }

    /// At most about `count` round values inside the domain.
    pub fn ticks(&self, count: usize) -> Vec<f64> {
        if self.is_log {
            let ticks = log_ticks(self.domain);
            if ticks.len() >= 2 {
                return thin(ticks, count);
            }
        }
        linear_ticks(self.domain, count)
    }

    fn place(&self, value: f64) -> f64 {
        if self.is_log {
            value.max(f64::MIN_POSITIVE).ln()
        } else {
            value
        }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks((low, high): (f64, f64), count: usize) -> Vec<f64> {
    let rough = (high - low) / count.max(1) as f64;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|&step| step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

/// 1, 2 and 5 times the powers of ten inside the domain.
fn log_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (first..=last)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10_f64.powi(power)))
        .filter(|tick| (low..=high).contains(tick))
        .collect()
}

fn thin(ticks: Vec<f64>, count: usize) -> Vec<f64> {
    let stride = ticks.len().div_ceil(count.max(1)).max(1);
    ticks.into_iter().step_by(stride).collect()
}

/// The text of a tick, with as few digits as distinguish it from its neighbors.
pub fn tick_text(value: f64, ticks: &[f64]) -> String {
    let magnitude = value.abs();
    let gap = ticks
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs())
        .fold(f64::INFINITY, f64::min);
    let gap = if gap.is_finite() {
        gap
    } else {
        magnitude.max(1.0)
    };
    let place = gap.log10().floor();
    if magnitude != 0.0 && !(1e-3..1e5).contains(&magnitude) {
        let digits = (magnitude.log10().floor() - place).clamp(0.0, 4.0) as usize;
        return format!("{value:.digits$e}");
    }
    let decimals = (-place).clamp(0.0, 4.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_values_are_inverse() {
        for is_log in [false, true] {
            let scale = Scale::new((0.5, 8.0), (40.0, 640.0), is_log);
            for value in [0.5, 0.7, 1.0, 3.3, 8.0] {
                let there_and_back = scale.value_from_pixel(scale.pixel_from_value(value));
                assert!(
                    (there_and_back - value).abs() < 1e-9,
                    "{value} became {there_and_back}"
                );
            }
        }
        let log = Scale::new((1.0, 100.0), (0.0, 100.0), true);
        assert!((log.pixel_from_value(10.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn one_value_makes_an_axis_too() {
        for value in [0.0, 3.0, -2.0] {
            let scale = Scale::new((value, value), (0.0, 100.0), false);
            assert!((scale.pixel_from_value(value) - 50.0).abs() < 1e-6);
            assert!(!scale.ticks(4).is_empty());
        }
    }

    #[test]
    fn a_log_axis_with_zero_falls_back_to_linear() {
        assert!(!Scale::new((0.0, 1.0), (0.0, 1.0), true).is_log);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let scale = Scale::new((0.93, 3.61), (0.0, 1.0), false);
        assert_eq!(scale.ticks(6), [1.0, 1.5, 2.0, 2.5, 3.0, 3.5]);
        let log = Scale::new((0.93, 36.0), (0.0, 1.0), true);
        assert_eq!(log.ticks(6), [1.0, 2.0, 5.0, 10.0, 20.0]);
    }

    #[test]
    fn tick_texts_differ_and_are_short() {
        assert_eq!(tick_text(1.5, &[1.0, 1.5]), "1.5");
        assert_eq!(tick_text(200.0, &[100.0, 200.0]), "200");
        assert_eq!(tick_text(0.0004, &[0.0002, 0.0004]), "4e-4");
        let rates = [1e-4, 1.5e-4, 2e-4];
        let texts = rates.map(|rate| tick_text(rate, &rates));
        assert_eq!(texts, ["1.0e-4", "1.5e-4", "2.0e-4"]);
    }
}
