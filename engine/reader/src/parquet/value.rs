//! Converts Parquet's values to JSON's.

use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit},
    schema::types::ColumnDescriptor,
};
use serde_json::{Number, Value};

/// The number of seconds in a day.
const DAY: i64 = 86_400;

/// The meaning of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Plain numbers, booleans or bytes.
    Itself,
    Unsigned,
    Date,
    /// Time since midnight, in this many parts of a second.
    Time(i64),
    /// Time since 1970, in this many parts of a second, and whether it is in UTC.
    Timestamp(i64, bool),
    /// The number of digits after the decimal point.
    Decimal(usize),
    Uuid,
    Half,
}

impl Meaning {
    pub(super) fn of(column: &ColumnDescriptor) -> Self {
        let parts = |unit: &TimeUnit| match unit {
            TimeUnit::MILLIS => 1_000,
            TimeUnit::MICROS => 1_000_000,
            TimeUnit::NANOS => 1_000_000_000,
        };
        let scale = |scale: i32| Self::Decimal(usize::try_from(scale).unwrap_or(0).min(100));
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => Self::Date,
            (Some(LogicalType::Time(time)), _) => Self::Time(parts(&time.unit)),
            (Some(LogicalType::Timestamp(time)), _) => {
                Self::Timestamp(parts(&time.unit), time.is_adjusted_to_u_t_c)
            }
            (Some(LogicalType::Decimal(decimal)), _) => scale(decimal.scale),
            (Some(LogicalType::Integer(int)), _) if !int.is_signed => Self::Unsigned,
            (Some(LogicalType::Uuid), _) => Self::Uuid,
            (Some(LogicalType::Float16), _) => Self::Half,
            (Some(_), _) => Self::Itself,
            (None, ConvertedType::DECIMAL) => scale(column.type_scale()),
            (None, ConvertedType::TIME_MILLIS) => Self::Time(1_000),
            (None, ConvertedType::TIME_MICROS) => Self::Time(1_000_000),
            (None, ConvertedType::TIMESTAMP_MILLIS) => Self::Timestamp(1_000, true),
            (None, ConvertedType::TIMESTAMP_MICROS) => Self::Timestamp(1_000_000, true),
            (
                None,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
            ) => Self::Unsigned,
            (None, _) => Self::Itself,
        }
    }

    pub(super) fn of_int32(self, number: i32) -> Value {
        match self {
            Self::Unsigned => Value::from(number as u32),
            meaning => meaning.of_int64(number.into()),
        }
    }

    pub(crate) fn of_int64(self, number: i64) -> Value {
        match self {
            Self::Unsigned => Value::from(number as u64),
            Self::Date => Value::String(date(number)),
            Self::Time(parts) => Value::String(time(number, parts)),
            Self::Timestamp(parts, is_utc) => Value::String(timestamp(number, parts, is_utc)),
            Self::Decimal(scale) => Value::String(decimal(number.into(), scale)),
            Self::Itself | Self::Uuid | Self::Half => Value::from(number),
        }
    }

    /// `None` if the bytes are not text.
    pub(crate) fn of_bytes(self, bytes: &[u8]) -> Option<Value> {
        match (self, bytes) {
            (Self::Half, &[low, high]) => Some(float(half(u16::from_le_bytes([low, high])))),
            (Self::Uuid, bytes) if bytes.len() == 16 => Some(Value::String(uuid(bytes))),
            (Self::Decimal(scale), bytes) if (1..=16).contains(&bytes.len()) => {
                let sign = if bytes[0] >= 0x80 { -1 } else { 0 };
                let number = bytes
                    .iter()
                    .fold(sign, |number: i128, &byte| number << 8 | i128::from(byte));
                Some(Value::String(decimal(number, scale)))
            }
            _ => str::from_utf8(bytes)
                .ok()
                .map(|text| Value::String(text.to_owned())),
        }
    }
}

/// The shortest number that equals this one in 32 bits; null for what JSON cannot express.
pub(crate) fn of_f32(number: f32) -> Value {
    number.to_string().parse().map_or(Value::Null, float)
}

pub(crate) fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// Timestamps of Impala and old versions of Spark: nanoseconds of a day, and its Julian day number.
pub(super) fn of_int96(bytes: &[u8; 12]) -> Value {
    let [low, high, day] = [0, 4, 8].map(|at| {
        let bytes = bytes[at..].iter().take(4).rev();
        bytes.fold(0u32, |number, &byte| number << 8 | u32::from(byte))
    });
    let nanos = (u64::from(high) << 32 | u64::from(low)) as i64;
    let days = i64::from(day) - 2_440_588;
    let time = time(nanos, 1_000_000_000);
    Value::String(format!("{}T{time}", date(days)))
}

/// Days since 1970 as `2024-02-29`, in the calendar of today (Howard Hinnant's `civil_from_days`).
fn date(days: i64) -> String {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `12:30:00`, with a fraction if there is one.
fn time(number: i64, parts: i64) -> String {
    let (seconds, fraction) = (number.div_euclid(parts), number.rem_euclid(parts));
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if fraction > 0 {
        let width = parts.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        text.push('.');
        text += digits.trim_end_matches('0');
    }
    text
}

fn timestamp(number: i64, parts: i64, is_utc: bool) -> String {
    let day = DAY * parts;
    let mark = if is_utc { "Z" } else { "" };
    format!(
        "{}T{}{mark}",
        date(number.div_euclid(day)),
        time(number.rem_euclid(day), parts)
    )
}

fn decimal(number: i128, scale: usize) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let width = scale + 1;
    let digits = format!("{:0width$}", number.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    match fraction {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

/// A 16-bit float of IEEE 754.
pub(crate) fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3FF);
    let magnitude = match i32::from(bits >> 10 & 0x1F) {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits >= 0x8000 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_written_as_iso_8601_has_them() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (-719_162, "0001-01-01"),
            (11_016, "2000-02-29"),
        ] {
            assert_eq!(date(days), expected);
        }
        let stamp = Meaning::Timestamp(1_000_000, true).of_int64(1_709_210_096_500_000);
        assert_eq!(stamp, "2024-02-29T12:34:56.5Z");
        let before = Meaning::Timestamp(1_000, false).of_int64(-1);
        assert_eq!(before, "1969-12-31T23:59:59.999");
        for extreme in [i64::MIN, i64::MAX] {
            for meaning in [
                Meaning::Date,
                Meaning::Time(1_000),
                Meaning::Timestamp(1_000_000_000, true),
                Meaning::Decimal(100),
            ] {
                assert!(meaning.of_int64(extreme).is_string());
            }
        }
    }

    #[test]
    fn decimals_and_halves_keep_their_value() {
        assert_eq!(Meaning::Decimal(2).of_int32(-5), "-0.05");
        assert_eq!(Meaning::Decimal(0).of_int64(1200), "1200");
        assert_eq!(
            Meaning::Decimal(3).of_bytes(&[0xFF, 0x85]).unwrap(),
            "-0.123"
        );
        assert_eq!(half(0x3C00), 1.0);
        assert_eq!(half(0xC248), -3.140625);
        assert_eq!(half(0x0001), 2f64.powi(-24));
        assert_eq!(of_f32(0.1), serde_json::json!(0.1));
        assert_eq!(of_f32(f32::NAN), Value::Null);
        assert_eq!(Meaning::Itself.of_bytes(&[0xFF]), None);
        assert_eq!(Meaning::Unsigned.of_int32(-1), u32::MAX);
    }
}
