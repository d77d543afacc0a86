//! Numbers for people.

/// What stands where there is no number.
pub const NONE: &str = "\u{2014}";

/// Thousands set apart: `460,800`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and what is counted: `1 row`, `1,200 rows`.
pub fn counted(value: u64, noun: &str) -> String {
    format!("{} {}", count(value), plural(value, noun))
}

/// The noun for this number: `step`, `steps`.
pub fn plural(value: u64, noun: &str) -> String {
    let ending = if value == 1 { "" } else { "s" };
    format!("{noun}{ending}")
}

/// A large count in three figures: `9,876`, `871 k`, `2.4 M`.
pub fn compact(value: u64) -> String {
    match value {
        0..10_000 => count(value),
        10_000..999_500 => format!("{:.0} k", value as f64 / 1e3),
        999_500..9_950_000 => format!("{:.1} M", value as f64 / 1e6),
        _ => format!("{} M", count((value as f64 / 1e6).round() as u64)),
    }
}

/// `98.4 MB`, in powers of ten as file managers show them.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if value < 1000 {
        return format!("{value} bytes");
    }
    let mut amount = value as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    if amount < 10.0 {
        format!("{amount:.1} {}", UNITS[unit])
    } else {
        format!("{amount:.0} {}", UNITS[unit])
    }
}

/// `135 M`, `1.7 B`.
pub fn parameters(value: u64) -> String {
    match value {
        0..1_000_000 => count(value),
        1_000_000..1_000_000_000 => format!("{:.0} million", value as f64 / 1e6),
        _ => format!("{:.1} billion", value as f64 / 1e9),
    }
}

/// A loss to four places, or what it is where it is no number.
pub fn loss(value: f64) -> String {
    format!("{value:.4}")
}

/// A rate such as tokens per second: three figures are enough.
pub fn rate(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 100.0 => format!("{value:.0}"),
        magnitude if magnitude >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A small number such as a learning rate: `2.0e-3` below a hundredth.
pub fn small(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.01 {
        format!("{value:.1e}")
    } else {
        format!("{value:.3}")
    }
}

/// `45 s`, `3 min`, `2 h 5 min`.
pub fn duration(secs: f64) -> String {
    let secs = secs.max(0.0).round() as u64;
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min", (secs + 30) / 60),
        _ => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
    }
}

/// An estimated time: `a few seconds`, `about 40 seconds`, `about 4 minutes`, `about 2.5 hours`.
pub fn about(secs: f64) -> String {
    let minutes = secs / 60.0;
    match secs {
        secs if secs < 8.0 => "a few seconds".to_owned(),
        secs if secs < 55.0 => format!("about {:.0} seconds", (secs / 5.0).round() * 5.0),
        secs if secs < 90.0 => "about a minute".to_owned(),
        secs if secs < 3300.0 => format!("about {minutes:.0} minutes"),
        secs if secs < 5400.0 => "about an hour".to_owned(),
        secs if secs < 10.0 * 3600.0 => {
            format!("about {} hours", (minutes / 30.0).round() / 2.0)
        }
        secs if secs < 36.0 * 3600.0 => format!("about {:.0} hours", minutes / 60.0),
        _ => format!("about {:.0} days", (minutes / 1440.0).max(2.0)),
    }
}

/// The first figures of a hash.
pub fn short_hash(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}

/// With a capital at the start.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

/// Messages come as clauses; on their own they start with a capital, unless it is a file's name, and end with a stop.
pub fn sentence(text: &str) -> String {
    let first = text.split_whitespace().next().unwrap_or_default();
    let is_name = first.trim_end_matches(['.', ',', ':', ';']).contains('.');
    let mut sentence = if is_name {
        text.to_owned()
    } else {
        capitalised(text)
    };
    if !sentence.ends_with(['.', '!', '?', '\u{2026}']) {
        sentence.push('.');
    }
    sentence
}
