//! Typed access to the key-value pairs of a GGUF header.

use std::collections::BTreeMap;

use super::error::{GgufError, GgufProblem, Place};

/// A metadata value. Integers and floats of every width are widened; arrays stay as compact as in the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Strings(StringList),
    Integers(Vec<i32>),
    /// An array of a type that none of the keys we use has; only its length is kept.
    OtherArray(usize),
}

impl Value {
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringList {
    text: String,
    ends: Vec<u32>,
}

impl StringList {
    /// Appends; the header's cap keeps the sum of all lengths below `u32::MAX`.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().scan(0usize, |start, &end| {
            let text = &self.text[*start..end as usize];
            *start = end as usize;
            Some(text)
        })
    }
}

/// The key-value pairs of a header.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(BTreeMap<String, Value>);

impl Metadata {
    /// Adds a pair; a second value for one key is refused.
    pub(super) fn insert(&mut self, key: String, value: Value) -> Result<(), GgufError> {
        if self.0.contains_key(&key) {
            return Err(Place::Key(key).error(GgufProblem::Duplicate));
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a string", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A number that is not negative, of any integer type.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, "an unsigned integer", |value| match value {
            Value::Unsigned(number) => Some(*number),
            _ => None,
        })
    }

    /// The id of a token; none where it is none that could be, such as the -1 that some files have.
    pub fn token_id(&self, key: &str) -> Option<u32> {
        match self.get(key)? {
            Value::Unsigned(id) => u32::try_from(*id).ok(),
            _ => None,
        }
    }

    /// A floating-point number; integers are taken too.
    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.typed(key, "a number", |value| match value {
            Value::Float(number) => Some(*number),
            Value::Unsigned(number) => Some(*number as f64),
            Value::Signed(number) => Some(*number as f64),
            _ => None,
        })
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a boolean", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    pub fn strings(&self, key: &str) -> Result<Option<&StringList>, GgufError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Strings(list) => Some(list),
            _ => None,
        })
    }

    pub fn integers(&self, key: &str) -> Result<Option<&[i32]>, GgufError> {
        self.typed(key, "an array of 32-bit integers", |value| match value {
            Value::Integers(list) => Some(list.as_slice()),
            _ => None,
        })
    }

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
