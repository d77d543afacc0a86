//! Typed access to the key-value pairs of a GGUF header.
//!
//! A key that is absent is `None`; a key of the wrong type is an error that names it. Keys with an
//! architecture's prefix (`llama.block_count`) and those of the vocabulary (`tokenizer.ggml.*`) are looked up
//! by whoever knows their meaning.

use std::collections::BTreeMap;

use super::error::{GgufError, GgufProblem, Place};

/// A metadata value. Integers and floats of every width are widened; arrays stay as compact as in the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An integer of any type that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Signed(i64),
    /// A 32-bit or 64-bit number; the former is exact in the latter.
    Float(f64),
    /// A flag.
    Bool(bool),
    /// A string, at most 16 MB.
    Text(String),
    /// An array of strings: tokens, merges.
    Strings(StringList),
    /// An array of 32-bit integers, signed or unsigned: the types of tokens.
    Integers(Vec<i32>),
    /// An array of a type that none of the keys we use has; only its length is kept.
    OtherArray(usize),
}

impl Value {
    /// Returns the type in words, for messages.
    fn type_name(&self) -> &'static str {
        match self {
            Self::Unsigned(_) => "an unsigned integer",
            Self::Signed(_) => "a negative integer",
            Self::Float(_) => "a floating-point number",
            Self::Bool(_) => "a boolean",
            Self::Text(_) => "a string",
            Self::Strings(_) => "an array of strings",
            Self::Integers(_) => "an array of 32-bit integers",
            Self::OtherArray(_) => "an array",
        }
    }
}

/// Many strings in one allocation: a vocabulary costs hardly more than its bytes in the file.
///
/// ```text
/// ["he", "l", "lo"]     text = "hello"     ends = [2, 3, 5]
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringList {
    /// All strings, one after the other.
    text: String,
    /// Where each string ends in `text`, in bytes.
    ends: Vec<u32>,
}

impl StringList {
    /// Appends a string; the header's limit of 100 MB keeps the sum of all lengths below `u32::MAX`.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
    }

    /// Returns the number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no strings.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns all strings in order. There is no access by index: whoever needs it collects first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().scan(0usize, |start, &end| {
            let text = &self.text[*start..end as usize];
            *start = end as usize;
            Some(text)
        })
    }
}

/// The key-value pairs of a header, sorted by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(BTreeMap<String, Value>);

impl Metadata {
    /// Adds a pair.
    ///
    /// # Errors
    /// [`GgufProblem::Duplicate`] for a second value of one key: which of the two counts would depend on the
    /// program.
    pub(super) fn insert(&mut self, key: String, value: Value) -> Result<(), GgufError> {
        if self.0.contains_key(&key) {
            return Err(Place::Key(key).error(GgufProblem::Duplicate));
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// Returns all keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the value of a key, whatever its type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Returns the text of a key.
    ///
    /// # Errors
    /// [`GgufProblem::WrongType`] if the key has a value of another type; the same holds for the methods below.
    pub fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a string", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Returns a number that is not negative, of any integer type.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, "an unsigned integer", |value| match value {
            Value::Unsigned(number) => Some(*number),
            _ => None,
        })
    }

    /// Returns the id of a token. `None` where the key is absent or its value cannot be an id, such as the -1
    /// that some files have for "no token"; such a value is no error.
    pub fn token_id(&self, key: &str) -> Option<u32> {
        match self.get(key)? {
            Value::Unsigned(id) => u32::try_from(*id).ok(),
            _ => None,
        }
    }

    /// Returns a number of any type; integers are taken too, since writers leave the decimal point out.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.typed(key, "a number", |value| match value {
            Value::Float(number) => Some(*number),
            Value::Unsigned(number) => Some(*number as f64),
            Value::Signed(number) => Some(*number as f64),
            _ => None,
        })
    }

    /// Returns a flag.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a boolean", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// Returns an array of strings.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn strings(&self, key: &str) -> Result<Option<&StringList>, GgufError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Strings(list) => Some(list),
            _ => None,
        })
    }

    /// Returns an array of 32-bit integers.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn integers(&self, key: &str) -> Result<Option<&[i32]>, GgufError> {
        self.typed(key, "an array of 32-bit integers", |value| match value {
            Value::Integers(list) => Some(list.as_slice()),
            _ => None,
        })
    }

    /// Reads a key with `read`, which returns `None` for values of other types; `expected` names the type in
    /// the message.
    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.0.get(key) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| {
            Place::Key(key.to_owned()).error(GgufProblem::WrongType {
                expected,
                found: value.type_name(),
            })
        })
    }
}
