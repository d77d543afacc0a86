//! The bounds of a template's values, and the filters that hold them (see [`super::code`]).
//!
//! Every list, tuple and map that a template makes is made at once, paid for in fuel, and weighed: what it would take
//! written out, with each part counted as often as it occurs. None contains a namespace or a loop, which change later,
//! so a value that was in bounds stays in bounds, and whatever walks it (printing, comparing, sorting) takes no more
//! than a few times its weight.
//!
//! The weight of a value is 64 bytes and its text, plus the weights of its parts:
//!
//! ```text
//! "abc"              64 + 3 inside a container
//! ["abc", "abc"]     64 + 2 (64 + 3)
//! x = [..]; [x, x]   64 + twice the weight of x, though x is in memory once
//! ```
//!
//! Without this, `{% set x = [x, x] %}` forty times makes a value of some kilobytes that takes 2^40 steps to print.

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

/// The weight that a value may have: 2 MiB, twice what a template may write.
pub const MAX_VALUE_BYTES: usize = 2 << 20;
/// The depth that a value may have. serde_json reads JSON to a depth of 128; a row's tool call is a few levels deeper
/// inside its conversation.
pub const MAX_VALUE_DEPTH: usize = 136;
/// The weight of a value beyond its text; it also limits lists to 32,768 items.
const BYTES_PER_VALUE: usize = 64;
/// Values that are weighed for one step of fuel.
const VALUES_PER_FUEL: usize = 16;
/// Items of a list that are made for one step of fuel; minijinja's own rate.
const ITEMS_PER_FUEL: usize = 2;
/// Bytes of text that are made for one step of fuel; minijinja's own rate.
pub(super) const BYTES_PER_FUEL: usize = 64;

/// A value beyond the bounds, stored as the source of minijinja's error so that it is recognized by its type.
#[derive(Debug, thiserror::Error)]
#[error("the value is too large")]
pub(super) struct TooLarge;

/// The error of a value beyond the bounds, as minijinja passes it on.
pub(super) fn too_large() -> Error {
    Error::new(ErrorKind::InvalidOperation, "the value is too large").with_source(TooLarge)
}

/// Gives the environment the filters above and, instead of minijinja's own, those filters and functions that make more
/// than they are paid for:
///
/// | name | what minijinja's own would do |
/// |---|---|
/// | `split`, `lines` | make a value of 64 bytes for each byte of a text |
/// | `format` | pad to any width |
/// | `dict`, `namespace` | keep containers that were never weighed |
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
///
/// # Errors
/// That the fuel is spent.
pub(super) fn charge_bytes(state: &State, num_bytes: usize) -> Result<(), Error> {
    match num_bytes / BYTES_PER_FUEL {
        0 => Ok(()),
        fuel => state.consume_fuel(fuel as u64),
    }
}

/// Charges for the items of a list before it is kept.
///
/// # Errors
/// That the fuel is spent.
fn charge_items(state: &State, count: usize) -> Result<(), Error> {
    match count / ITEMS_PER_FUEL {
        0 => Ok(()),
        fuel => state.consume_fuel(fuel as u64),
    }
}

/// The filter around what may make a container: makes a lazy list at once, charges for its items, and weighs it. Text
/// and numbers pass unchanged.
///
/// # Errors
/// [`TooLarge`], that the fuel is spent, or a namespace or loop inside the value.
fn bounded(state: &State, value: Value) -> Result<Value, Error> {
    let Some(object) = value.as_object() else {
        return Ok(value);
    };
    // A `Vec` is in memory already, and a tuple must stay a tuple.
    let is_made = object.downcast_ref::<Vec<Value>>().is_some() || value.is_tuple();
    let value = match object.repr() {
        ObjectRepr::Seq | ObjectRepr::Iterable if !is_made => {
            // Refused by its length, where it is known, before anything is allocated.
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

/// The filter around what is about to be walked: weighs the value and passes it on.
///
/// # Errors
/// As [`weigh`].
fn weighed(state: &State, value: Value) -> Result<Value, Error> {
    weigh(state, &value)?;
    Ok(value)
}

/// The filter around what becomes an attribute of a namespace: refuses what would change later. A namespace that holds
/// another could otherwise come to hold itself, and a walk would never end.
///
/// # Errors
/// For a namespace or a loop.
fn assigned(value: Value) -> Result<Value, Error> {
    match changes(&value) {
        true => Err(Error::new(
            ErrorKind::InvalidOperation,
            "a namespace or a loop cannot be kept in a namespace",
        )),
        false => Ok(value),
    }
}

/// Whether a value changes after it was made. minijinja keeps these types private, so their names tell.
fn changes(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        let name = object.type_name();
        name.ends_with("::Namespace") || name.ends_with("::Loop")
    })
}

/// Walks a value, which its fuel pays for, and returns its weight in bytes.
///
/// Text alone weighs its bytes, any other value without parts 64: there is nothing to walk.
///
/// # Errors
/// [`TooLarge`], that the fuel is spent, or a namespace or loop inside a container.
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

/// A walk under way.
/// Fuel is charged for every 16 values, before the next ones are looked at.
struct Scales<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    /// The weight so far.
    num_bytes: usize,
    /// Values walked since fuel was last charged.
    unpaid: usize,
}

impl Scales<'_, '_, '_> {
    /// Adds a value that is `depth` levels inside the one being weighed, with all of its parts. The depth is bounded
    /// before the next level is entered, so the recursion is, too.
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

/// `value|split(separator)`, with at most `max_splits` cuts.
fn split(
    value: &Value,
    separator: Option<Arc<str>>,
    max_splits: Option<i64>,
) -> Result<Value, Error> {
    check_pieces(value, separator.as_deref())?;
    filters::split(value, separator, max_splits)
}

/// `value|lines`: the lines of a text as a list.
fn lines(value: &Value) -> Result<Value, Error> {
    check_pieces(value, Some("\n"))?;
    filters::lines(value)
}

/// Checks that the pieces of a text are within the bounds, before they are made; at any whitespace without a separator.
///
/// # Errors
/// [`TooLarge`] for more pieces than a list may have.
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

/// `text|format(...)`, Python's `%` operator.
fn format(state: &State, text: &str, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = args.into_values();
    charge_format(state, text, '%', &args)?;
    formatting::format(FormatStyle::Printf, text, &args).map(Value::from)
}

/// Charges for what a format would write at most: each of its fields may write each argument, and as much padding as
/// the numbers in it say. `field` is the character that begins a field.
///
/// ```text
/// "%5d of %-20s"   2 fields, 25 characters of padding
/// "%999999999d"    more than all fuel pays for, so it is refused before a byte is written
/// ```
///
/// # Errors
/// That the fuel is spent, and those of [`weigh`].
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

/// `dict(pairs, key=value)`, weighed when it is made.
fn dict(state: &State, value: Option<Value>, update_with: Kwargs) -> Result<Value, Error> {
    bounded(state, functions::dict(value, update_with)?)
}

/// `namespace(key=value)`: the only value that a template can change. Its attributes are checked as they are assigned
/// (`assigned`).
fn namespace(state: &State, defaults: Option<ValueOrKwargs>) -> Result<Value, Error> {
    let made = functions::namespace(defaults)?;
    weigh(state, &made)?;
    Ok(made)
}
