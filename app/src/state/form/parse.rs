//! Reads numbers and module names as people write them.

use std::collections::BTreeMap;
use std::str::FromStr;

use protocol::{Access, Counts, LayerRange, Reals, Setting, Settings, TargetModule};

/// Reads the text of a setting into the settings.
///
/// # Errors
/// A sentence for the user.
pub fn read(setting: &Setting, text: &str, settings: &mut Settings) -> Result<(), String> {
    match &setting.access {
        Access::Whole(counts, at) => *(at.get_mut)(settings) = whole(setting, *counts, text)?,
        Access::Size(counts, at) => {
            *(at.get_mut)(settings) = whole(setting, *counts, text)? as usize;
        }
        Access::Real(reals, at) => *(at.get_mut)(settings) = real(setting, *reals, text)?,
        Access::Modules(at) => *(at.get_mut)(settings) = modules(text)?,
        Access::Layers(at) => *(at.get_mut)(settings) = layers(text)?,
        Access::Ranks(_, at) => *(at.get_mut)(settings) = pattern(setting, text)?,
        Access::Alphas(_, at) => *(at.get_mut)(settings) = pattern(setting, text)?,
        // Nothing is typed.
        Access::Switch(_) | Access::Choice(_) | Access::LeftOut(_) | Access::FileSides(_) => {}
    }
    Ok(())
}

/// A whole number within the limits; spaces, underscores and thousands' commas are allowed. No text is 0 where that is
/// what the setting is at first.
fn whole(setting: &Setting, counts: Counts, text: &str) -> Result<u64, String> {
    let compact: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '_')
        .collect();
    if compact.is_empty() && setting.text(&Settings::default()) == "0" {
        return Ok(0);
    }
    let compact = without_thousands(&compact);
    let number = compact
        .parse::<u64>()
        .ok()
        .or_else(|| whole_from_real(&compact));
    number
        .filter(|&value| counts.contains(value))
        .ok_or_else(|| {
            let (label, allowed) = (setting.label, counts.words());
            format!("{label} must be a whole number {allowed}.")
        })
}

/// A number within the limits; a decimal comma, an exponent and a percent sign are allowed.
fn real(setting: &Setting, reals: Reals, text: &str) -> Result<f64, String> {
    number(text)
        .filter(|&value| reals.contains(value))
        .ok_or_else(|| format!("{} must be a number {}.", setting.label, reals.words()))
}

/// A finite number; a decimal comma, an exponent and a percent sign are allowed.
pub fn number(text: &str) -> Option<f64> {
    let compact: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '_')
        .collect();
    let (digits, scale) = match compact.strip_suffix('%') {
        Some(digits) => (digits, 0.01),
        None => (compact.as_str(), 1.0),
    };
    let value = digits.replace(',', ".").parse::<f64>().ok()? * scale;
    value.is_finite().then_some(value)
}

/// Module names separated by commas, semicolons or spaces, each once, in the order of the forward pass.
///
/// # Errors
/// A sentence for the user.
pub fn modules(text: &str) -> Result<Vec<TargetModule>, String> {
    let names = text
        .split([',', ';', ' ', '\n', '\t'])
        .filter(|name| !name.is_empty());
    let mut chosen = Vec::new();
    for name in names {
        let module = TargetModule::from_name(&name.to_ascii_lowercase()).ok_or_else(|| {
            format!(
                "No module is called \u{201c}{name}\u{201d}; choose from {}.",
                all_names()
            )
        })?;
        if !chosen.contains(&module) {
            chosen.push(module);
        }
    }
    chosen.sort_unstable();
    if chosen.is_empty() {
        Err("Choose at least one module.".to_owned())
    } else {
        Ok(chosen)
    }
}

/// Blocks counted from 0, such as `10-29`, or a single one; `None` means all.
fn layers(text: &str) -> Result<Option<LayerRange>, String> {
    let text = text.trim();
    if text.is_empty() || text.eq_ignore_ascii_case("all") {
        return Ok(None);
    }
    let (first, last) = text.split_once(['-', '\u{2013}']).unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<usize>().ok();
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Some(LayerRange { first, last })),
        _ => Err("Blocks must be a range such as 10-29; the first block is 0.".to_owned()),
    }
}

/// `name=number` separated by commas, semicolons or spaces.
fn pattern<T: FromStr>(setting: &Setting, text: &str) -> Result<BTreeMap<String, T>, String> {
    let entries = text.split([',', ';', ' ', '\n', '\t']);
    let entries = entries.filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (name, number) = entry.split_once(['=', ':']).unwrap_or((entry, ""));
            // No words that are floats to Rust, such as `inf`.
            let is_number = number.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            match number.parse() {
                Ok(number) if is_number && !name.is_empty() => Ok((name.to_owned(), number)),
                _ => Err(format!(
                    "{} must be pairs such as q_proj=16; \u{201c}{entry}\u{201d} is not one.",
                    setting.label
                )),
            }
        })
        .collect()
}

fn all_names() -> String {
    TargetModule::ALL.map(TargetModule::name).join(", ")
}

/// `1,000` is a thousand, `1,5` is not.
fn without_thousands(text: &str) -> String {
    let mut groups = text.split(',');
    let first = groups.next().unwrap_or_default();
    let is_grouped = (1..=3).contains(&first.len()) && groups.clone().all(|group| group.len() == 3);
    if is_grouped {
        text.replace(',', "")
    } else {
        text.to_owned()
    }
}

/// `1e3` and `8.0` are whole too.
fn whole_from_real(text: &str) -> Option<u64> {
    let value = text.parse::<f64>().ok()?;
    let is_whole = value.fract() == 0.0 && (0.0..9e15).contains(&value);
    is_whole.then_some(value as u64)
}
