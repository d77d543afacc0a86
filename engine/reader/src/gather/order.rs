//! The order of messages: by numbers, or by ISO 8601 dates.

use serde_json::Value;

/// A number that ascends with the order; `None` if the value is neither a number nor a date.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let text = text.trim();
            let number: Option<f64> = text.parse().ok();
            number
                .filter(|number| number.is_finite())
                .or_else(|| seconds(text))
        }
        _ => None,
    }
}

/// The seconds of a date such as `2024-05-01`, `2024-05-01 08:30` or `2024-05-01T08:30:12.5+02:00`.
fn seconds(text: &str) -> Option<f64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, ['-', '/']);
    let mut next = |len: usize| -> Option<i64> {
        let part = parts.next()?;
        let is_sound = part.len() <= len && part.bytes().all(|byte| byte.is_ascii_digit());
        is_sound.then(|| part.parse().ok()).flatten()
    };
    // The year comes first: in another order, a day could not be distinguished from a month.
    let year = next(4).filter(|year| *year >= 1000)?;
    let (month, day) = (next(2)?, next(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let time = time.map_or(Some(0.0), time_of_day)?;
    Some(days(year, month, day) as f64 * 86_400.0 + time)
}

fn time_of_day(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text
        .find(|character: char| !(character.is_ascii_digit() || matches!(character, ':' | '.')))
        .unwrap_or(text.len());
    let (clock, zone) = text.split_at(end);
    let hours = |text: &str| {
        let mut seconds = 0.0;
        for (part, unit) in text.split(':').zip([3600.0, 60.0, 1.0]) {
            seconds += part.parse::<f64>().ok()? * unit;
        }
        Some(seconds)
    };
    let zone = zone.trim();
    let shift = match zone.split_at_checked(1) {
        Some(("+", shift)) => hours(shift)?,
        Some(("-", shift)) => -hours(shift)?,
        _ => 0.0,
    };
    Some(hours(clock)? - shift)
}

/// The days since a day long ago, in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // The year starts in March, so that the leap day is its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_dates_ascend() {
        let ascending = [
            json!("2023-12-31 23:59"),
            json!("2024-02-29"),
            json!("2024-02-29T00:00:01"),
            json!("2024-03-01T01:00:00+02:00"),
            json!("2024-03-01T00:30:00Z"),
            json!("2024-03-01T00:30:00.250Z"),
        ];
        let numbers: Vec<f64> = ascending.iter().map(|text| number(text).unwrap()).collect();
        assert!(
            numbers.is_sorted_by(|one, other| one < other),
            "{numbers:?}"
        );
        assert_eq!(numbers[4] - numbers[1], 86_400.0 + 1800.0);
        assert_eq!(number(&json!("12")), Some(12.0));
        assert_eq!(number(&json!(1.5)), Some(1.5));
        for other in [
            json!("first"),
            json!("03.11.2024"),
            json!("3/11/2024"),
            json!(null),
            json!("nan"),
        ] {
            assert_eq!(number(&other), None, "{other}");
        }
    }
}
