//! The bounds of a template's values, and the filters that hold them (see [`super::code`]).
//!
//! Every list, tuple and map that a template makes is made at once, paid for in fuel, and weighed: what it would take
//! written out, with each part counted as often as it occurs. None contains a namespace or a loop, which change later,
//! so a value that was in bounds stays in bounds, and whatever walks it (printing, comparing, sorting) takes no more
//! than a few times its weight.

use std::sync::Arc;

use minijinja::{
    Environment, Error, ErrorKind, State, Value, filters,
    formatting::{self, FormatStyle},
    functions,
    value::{Kwargs, ObjectRepr, Rest, ValueOrKwargs},
};

/// Names of filters, which no template can spell. What makes a container;
pub(super) const BOUNDED: &str = "(bounded)";
/// what is about to be walked;
pub(super) const WEIGHED: &str = "(weighed)";
/// and what is assigned to an attribute of a namespace.
pub(super) const ASSIGNED: &str = "(assigned)";

/// The weight that a value may have.
pub const MAX_VALUE_BYTES: usize = 2 << 20;
/// The depth that a value may have. JSON is read to a depth of 128.
pub const MAX_VALUE_DEPTH: usize = 136;
/// The weight of a value beyond its text.
const BYTES_PER_VALUE: usize = 64;
/// Values that are walked for one step of fuel.
const VALUES_PER_FUEL: usize = 16;
/// Items of a list that are made for one step of fuel; minijinja's own rate.
const ITEMS_PER_FUEL: usize = 2;
/// Bytes of text that are made for one step of fuel; minijinja's own rate.
pub(super) const BYTES_PER_FUEL: usize = 64;

/// A value beyond the bounds, stored as the source of minijinja's error so that it is recognized by its type.
#[derive(Debug, thiserror::Error)]
#[error("the value is too large")]
pub(super) struct TooLarge;

pub(super) fn too_large() -> Error {
    Error::new(ErrorKind::InvalidOperation, "the value is too large").with_source(TooLarge)
}

/// Gives the environment the filters above and, instead of minijinja's own, those filters and functions that make
/// more than they are paid for.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.add_filter(BOUNDED, bounded);
    environment.add_filter(WEIGHED, weighed);
    environment.add_filter(ASSIGNED, assigned);
    environment.add_filter("split", split);
    environment.add_filter("lines", lines);
    environment.add_filter("format", format);
    environment.add_function("dict", dict);
    environment.add_function("namespace", namespace);
    // Prints all variables, for development.
    environment.remove_global("debug");
}

/// Charges for text before it is made.
pub(super) fn charge_bytes(state: &State, num_bytes: usize) -> Result<(), Error> {
    match num_bytes / BYTES_PER_FUEL {
        0 => Ok(()),
        fuel => state.consume_fuel(fuel as u64),
    }
}

/// Charges for the items of a list before it is made.
fn charge_items(state: &State, count: usize) -> Result<(), Error> {
    match count / ITEMS_PER_FUEL {
        0 => Ok(()),
        fuel => state.consume_fuel(fuel as u64),
    }
}

/// The result of an operation that may make a container.
fn bounded(state: &State, value: Value) -> Result<Value, Error> {
    let Some(object) = value.as_object() else {
        return Ok(value);
    };
    let is_made = object.downcast_ref::<Vec<Value>>().is_some() || value.is_tuple();
    let value = match object.repr() {
        ObjectRepr::Seq | ObjectRepr::Iterable if !is_made => {
            let count = object.enumerator_len().unwrap_or_default();
            if count > MAX_VALUE_BYTES / BYTES_PER_VALUE {
                return Err(too_large());
            }
            let mut items = Vec::with_capacity(count);
            for item in value.try_iter()?.checked() {
                if items.len() >= MAX_VALUE_BYTES / BYTES_PER_VALUE {
                    return Err(too_large());
                }
                items.push(item?);
            }
            charge_items(state, items.len())?;
            Value::from(items)
        }
        // Merged maps, which `chain` makes, are looked up one inside the other.
        ObjectRepr::Map if object.type_name().ends_with("MergeDict") => {
            let pairs = object.try_iter_pairs().into_iter().flatten();
            let pairs: Vec<(Value, Value)> = pairs.collect();
            charge_items(state, 2 * pairs.len())?;
            Value::from_pairs(pairs)
        }
        _ => value,
    };
    weigh(state, &value)?;
    Ok(value)
}

fn weighed(state: &State, value: Value) -> Result<Value, Error> {
    weigh(state, &value)?;
    Ok(value)
}

fn assigned(value: Value) -> Result<Value, Error> {
    match changes(&value) {
        true => Err(Error::new(
            ErrorKind::InvalidOperation,
            "a namespace or a loop cannot be kept in a namespace",
        )),
        false => Ok(value),
    }
}

/// Whether a value changes after it was made.
fn changes(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        let name = object.type_name();
        name.ends_with("::Namespace") || name.ends_with("::Loop")
    })
}

/// Walks a value, which its fuel pays for. Its weight in bytes.
///
/// # Errors
/// [`TooLarge`], or that the fuel is spent.
pub(super) fn weigh(state: &State, value: &Value) -> Result<usize, Error> {
    let mut scales = Scales {
        state,
        num_bytes: 0,
        unpaid: 0,
    };
    match value.as_object() {
        Some(_) => scales.add(value, 0)?,
        None => return Ok(value.as_str().map_or(BYTES_PER_VALUE, str::len)),
    }
    Ok(scales.num_bytes)
}

struct Scales<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    num_bytes: usize,
    /// Values walked since fuel was last charged.
    unpaid: usize,
}

impl Scales<'_, '_, '_> {
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.num_bytes += BYTES_PER_VALUE + value.as_str().map_or(0, str::len);
        if self.num_bytes > MAX_VALUE_BYTES || depth > MAX_VALUE_DEPTH {
            return Err(too_large());
        }
        self.unpaid += 1;
        if self.unpaid == VALUES_PER_FUEL {
            self.unpaid = 0;
            self.state.consume_fuel(1)?;
        }
        let Some(object) = value.as_object() else {
            return Ok(());
        };
        if depth > 0 && changes(value) {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "a namespace or a loop cannot be put into a list or a map",
            ));
        }
        if let Some(items) = object.downcast_ref::<Vec<Value>>() {
            return items.iter().try_for_each(|item| self.add(item, depth + 1));
        }
        match object.repr() {
            ObjectRepr::Map => {
                for (key, value) in object.try_iter_pairs().into_iter().flatten() {
                    self.add(&key, depth + 1)?;
                    self.add(&value, depth + 1)?;
                }
                Ok(())
            }
            ObjectRepr::Seq | ObjectRepr::Iterable => {
                let mut items = object.try_iter().into_iter().flatten();
                items.try_for_each(|item| self.add(&item, depth + 1))
            }
            _ => Ok(()),
        }
    }
}

/// `value|split(separator)`
fn split(
    value: &Value,
    separator: Option<Arc<str>>,
    max_splits: Option<i64>,
) -> Result<Value, Error> {
    check_pieces(value, separator.as_deref())?;
    filters::split(value, separator, max_splits)
}

/// `value|lines`
fn lines(value: &Value) -> Result<Value, Error> {
    check_pieces(value, Some("\n"))?;
    filters::lines(value)
}

/// Checks that the pieces of a text are within the bounds, before they are made; at any whitespace without a separator.
pub(super) fn check_pieces(text: &Value, separator: Option<&str>) -> Result<(), Error> {
    let Some(text) = text.as_str() else {
        return Ok(());
    };
    let count = match separator {
        Some("") => text.len(),
        Some(separator) => text.matches(separator).count(),
        None => text.split_whitespace().count(),
    };
    match count > MAX_VALUE_BYTES / BYTES_PER_VALUE {
        true => Err(too_large()),
        false => Ok(()),
    }
}

/// `text|format(...)`
fn format(state: &State, text: &str, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = args.into_values();
    charge_format(state, text, '%', &args)?;
    formatting::format(FormatStyle::Printf, text, &args).map(Value::from)
}

/// Charges for what a format would write at most: each of its fields may write each argument, and as much padding as
/// the numbers in it say.
pub(super) fn charge_format(
    state: &State,
    text: &str,
    field: char,
    args: &[Value],
) -> Result<(), Error> {
    let mut longest = 0;
    for arg in args {
        longest = longest.max(weigh(state, arg)?);
    }
    let fields = text.matches(field).count();
    let numbers = text.split(|character: char| !character.is_ascii_digit());
    let padding = numbers
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(usize::MAX))
        .fold(0, usize::saturating_add);
    let num_bytes = fields.saturating_mul(longest).saturating_add(padding);
    charge_bytes(state, num_bytes)
}

/// `dict(pairs, key=value)`
fn dict(state: &State, value: Option<Value>, update_with: Kwargs) -> Result<Value, Error> {
    bounded(state, functions::dict(value, update_with)?)
}

/// `namespace(key=value)`
fn namespace(state: &State, defaults: Option<ValueOrKwargs>) -> Result<Value, Error> {
    let made = functions::namespace(defaults)?;
    weigh(state, &made)?;
    Ok(made)
}
