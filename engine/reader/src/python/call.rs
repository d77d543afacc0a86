//! Words and calls: `True`, `None`, `array([..], dtype=object)`, `datetime.datetime(2024, 2, 29)`.

use serde_json::{Map, Value};

use super::{Adjacent, Parser};

/// Words that stand for nothing.
const NOTHING: [&str; 8] = [
    "None",
    "null",
    "undefined",
    "NaT",
    "NaN",
    "nan",
    "Infinity",
    "inf",
];

impl Parser<'_> {
    /// A word that is a value, or a call.
    pub(super) fn word(&mut self, depth: usize) -> Option<Value> {
        let mut name = self.name()?;
        self.at += name.len();
        if NOTHING.contains(&name) {
            match name {
                "NaN" | "nan" | "Infinity" | "inf" => self.forgiven.not_a_number = true,
                _ => self.forgiven.python |= name != "null",
            }
            return Some(Value::Null);
        }
        match name {
            "true" => return Some(true.into()),
            "false" => return Some(false.into()),
            _ => self.forgiven.python = true,
        }
        match name {
            "True" => return Some(true.into()),
            "False" => return Some(false.into()),
            _ => {}
        }
        while self.take(b'.') {
            name = self.name()?;
            self.at += name.len();
        }
        match name {
            // NumPy's, as `np.True_`.
            "True_" => return Some(true.into()),
            "False_" => return Some(false.into()),
            "nan" | "inf" => return Some(Value::Null),
            _ => {}
        }
        self.take(b'(').then_some(())?;
        self.arguments(name, depth + 1)
    }

    /// What a call stands for, after its opening bracket.
    fn arguments(&mut self, name: &str, depth: usize) -> Option<Value> {
        let mut values = Vec::new();
        let mut named = Map::new();
        loop {
            self.skip_space();
            if self.take(b')') {
                break;
            }
            match self.argument_name() {
                Some(name) => {
                    let value = self.named_argument(depth)?;
                    named.insert(name, value);
                }
                None => values.push(self.value(depth, Adjacent::Joined)?),
            }
            self.skip_space();
            if !self.take(b',') {
                self.take(b')').then_some(())?;
                break;
            }
        }
        match name {
            "datetime" | "date" => date(&values),
            "OrderedDict" => values.pop().map(of_pairs),
            _ if values.is_empty() && !named.is_empty() => Some(Value::Object(named)),
            _ if values.len() == 1 => values.pop(),
            _ => None,
        }
    }

    /// The name before `=`.
    fn argument_name(&mut self) -> Option<String> {
        let name = self.name()?;
        let after = self.text.get(self.at + name.len()..)?;
        let is_named = after.starts_with('=') && !after.starts_with("==");
        is_named.then(|| {
            self.at += name.len() + 1;
            name.to_owned()
        })
    }

    /// A value after `name=`, which may be any word, as in `dtype=object`.
    fn named_argument(&mut self, depth: usize) -> Option<Value> {
        let start = self.at;
        if let Some(value) = self.value(depth, Adjacent::Joined) {
            return Some(value);
        }
        self.at = start;
        let name = self.name()?;
        self.at += name.len();
        Some(Value::Null)
    }
}

/// A moment of its year, month, day, hour and so on.
fn date(values: &[Value]) -> Option<Value> {
    let numbers: Option<Vec<u64>> = values.iter().map(Value::as_u64).collect();
    match numbers?.as_slice() {
        [year, month, day] => Some(Value::String(format!("{year:04}-{month:02}-{day:02}"))),
        [year, month, day, hour, minute, rest @ ..] => {
            let second = rest.first().unwrap_or(&0);
            Some(Value::String(format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
            )))
        }
        _ => None,
    }
}

/// A list of names and values as an object; anything else as it is.
fn of_pairs(value: Value) -> Value {
    let pair = |item: &Value| match item.as_array()?.as_slice() {
        [Value::String(name), value] => Some((name.clone(), value.clone())),
        _ => None,
    };
    let pairs = value
        .as_array()
        .and_then(|items| items.iter().map(pair).collect());
    match pairs {
        Some(fields) => Value::Object(fields),
        None => value,
    }
}
