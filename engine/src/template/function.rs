//! The functions and filters that `transformers` gives chat templates in addition to those of Jinja, and Python's
//! methods of strings, lists and dicts (`minijinja_contrib::pycompat`), each with Python's definition of spaces and
//! spelling:
//!
//! | template | result |
//! |---|---|
//! | `{{ true }} {{ none }}` | `True None` |
//! | `{{ {"a": [1, "é"]}\|tojson }}` | `{"a": [1, "é"]}` |
//! | `{{ " x\u001f".strip() }}` | `x` |
//! | `{{ strftime_now("%d %b %Y") }}` | `26 Jul 2024` |

use std::borrow::Cow;

use minijinja::{
    Error, ErrorKind, Output, State, Value,
    value::{Kwargs, ValueKind},
};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::{bounds, writer::CappedWriter};

/// A template's own refusal, stored as the source of minijinja's error so that it is recognized by its type. The
/// template works; the conversation is not what it expects, such as roles that do not alternate.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// `raise_exception(message)`: ends the rendering.
///
/// # Errors
/// Always, with [`Raised`] as its source.
pub(super) fn raise_exception(message: String) -> Result<String, Error> {
    Err(
        Error::new(ErrorKind::InvalidOperation, "raise_exception was called")
            .with_source(Raised(message)),
    )
}

/// `strftime_now(format)`, always at noon on July 26, 2024: a run must not depend on the day on which it is made.
/// Llama's template falls back to this date. Unusual directives are left unchanged.
///
/// ```text
/// strftime_now("%d %b %Y")   ->   "26 Jul 2024"
/// strftime_now("%Y, %Z")     ->   "2024, %Z"
/// ```
pub(super) fn strftime_now(format: String) -> String {
    const DIRECTIVES: [(&str, &str); 16] = [
        ("%Y", "2024"),
        ("%y", "24"),
        ("%m", "07"),
        ("%-m", "7"),
        ("%d", "26"),
        ("%-d", "26"),
        ("%B", "July"),
        ("%b", "Jul"),
        ("%A", "Friday"),
        ("%a", "Fri"),
        ("%H", "12"),
        ("%I", "12"),
        ("%p", "PM"),
        ("%M", "00"),
        ("%S", "00"),
        ("%j", "208"),
    ];
    DIRECTIVES.iter().fold(format, |text, (directive, value)| {
        text.replace(directive, value)
    })
}

/// Whether Python's `str.strip` treats a character as a space: those of Unicode, and the four separators of ASCII.
/// Rust's `char::is_whitespace` lacks these separators (U+001C to U+001F).
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// `value|trim(chars)`, which is Python's `str.strip`.
pub(super) fn trim(text: Cow<'_, str>, chars: Option<Cow<'_, str>>) -> String {
    let is_trimmed = |character| match &chars {
        Some(chars) => chars.contains(character),
        None => is_space(character),
    };
    text.trim_matches(is_trimmed).to_owned()
}

/// Calls Python's methods, which minijinja lacks. Those that strip are implemented here, with Python's definition of
/// spaces; those that make lists or padding are checked before they run.
///
/// # Errors
/// [`bounds::TooLarge`], that the fuel is spent, or that there is no such method.
pub(super) fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match (name, value.as_str(), args) {
        ("strip", Some(text), []) => Ok(Value::from(text.trim_matches(is_space))),
        ("lstrip", Some(text), []) => Ok(Value::from(text.trim_start_matches(is_space))),
        ("rstrip", Some(text), []) => Ok(Value::from(text.trim_end_matches(is_space))),
        ("split", Some(_), args) => {
            let separator = args.first().and_then(Value::as_str);
            bounds::check_pieces(value, separator)?;
            unknown_method_callback(state, value, name, args)
        }
        ("splitlines", Some(_), _) => {
            bounds::check_pieces(value, Some("\n"))?;
            unknown_method_callback(state, value, name, args)
        }
        ("format", Some(text), args) => {
            bounds::charge_format(state, text, '{', args)?;
            unknown_method_callback(state, value, name, args)
        }
        _ => unknown_method_callback(state, value, name, args),
    }
}

/// Writes a value as Python's `str` does where Jinja's own spelling differs: `True`, `False` and `None`.
pub(super) fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match (value.kind(), value.is_true()) {
        (ValueKind::None, _) => out.write_str("None").map_err(Error::from),
        (ValueKind::Bool, true) => out.write_str("True").map_err(Error::from),
        (ValueKind::Bool, false) => out.write_str("False").map_err(Error::from),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// `value|tojson(indent=None)` as Python's `json.dumps(value, ensure_ascii=False)` writes it, unlike Jinja's own
/// filter, which escapes HTML. An indent is at most 16.
///
/// What is written is bounded by the fuel that is left, which pays for it.
///
/// # Errors
/// That the fuel is spent, an option that does not exist, or a value that JSON cannot hold.
pub(super) fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let written = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent.min(16));
            write(
                state,
                value,
                PrettyFormatter::with_indent(indent.as_bytes()),
            )
        }
        None => write(state, value, Spaced),
    };
    written.map(Value::from)
}

/// Writes JSON as `formatter` spaces it, into at most as many bytes as the fuel that is left pays for.
///
/// # Errors
/// As for [`tojson`].
fn write(state: &State, value: &Value, formatter: impl Formatter) -> Result<String, Error> {
    let fuel = state.fuel_levels().map_or(0, |(_, left)| left) as usize;
    let mut bytes = CappedWriter::new(fuel * bounds::BYTES_PER_FUEL);
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    match written {
        Ok(()) => Ok(bytes.into_string()),
        Err(error) if error.is_io() => Err(Error::from(ErrorKind::OutOfFuel)),
        Err(error) => Err(Error::new(ErrorKind::BadSerialization, error.to_string())),
    }
}

/// JSON on one line with a space after commas and colons: `{"a": [1, 2]}`, Python's default separators.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
