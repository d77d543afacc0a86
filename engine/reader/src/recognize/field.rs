//! The fields of a row as the rules see them: by plain names, and by how much is in them.

use serde_json::Value;

use crate::{headers::english, path::Fields};

/// How much is in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Filled {
    /// Null, or a list or object of nothing but nulls.
    No,
    /// An empty text, list or object.
    Blank,
    Yes,
}

struct Field<'a> {
    name: &'a str,
    plain: String,
    /// The English name that it means, where it has another language's.
    english: Option<&'static str>,
    value: &'a Value,
    filled: Filled,
}

impl Field<'_> {
    /// Whether its name is the wanted one, or means the same in another language.
    fn is_called(&self, wanted: &str) -> bool {
        self.plain == wanted || self.english == Some(wanted)
    }
}

/// The fields of a row.
pub(super) struct Row<'a> {
    fields: Vec<Field<'a>>,
}

impl<'a> Row<'a> {
    pub fn new(fields: &'a Fields) -> Self {
        let fields = fields.iter().map(|(name, value)| {
            let plain = plain(name);
            Field {
                name,
                english: english(&plain),
                plain,
                value,
                filled: filled(value),
            }
        });
        Self {
            fields: fields.collect(),
        }
    }

    /// The field under the first of `names` that there is and that fits. One with something in it comes before one that is
    /// blank, whatever their names; one that is null is none.
    pub fn find(&self, names: &[&str], fits: impl Fn(&Value) -> bool) -> Option<String> {
        [Filled::Yes, Filled::Blank].into_iter().find_map(|filled| {
            names.iter().find_map(|wanted| {
                let is_it = |field: &&Field| {
                    field.is_called(wanted) && field.filled == filled && fits(field.value)
                };
                let field = self.fields.iter().find(is_it);
                field.map(|field| field.name.to_owned())
            })
        })
    }

    /// As [`Self::find`], also a field that is null.
    pub fn find_or_null(&self, names: &[&str], fits: impl Fn(&Value) -> bool) -> Option<String> {
        self.find(names, fits).or_else(|| {
            names.iter().find_map(|wanted| {
                let is_it = |field: &&Field| field.is_called(wanted) && field.value.is_null();
                let field = self.fields.iter().find(is_it);
                field.map(|field| field.name.to_owned())
            })
        })
    }

    /// The field under the first of `names` that is an object of nothing but nulls.
    pub fn find_nulls(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|wanted| {
            let is_it = |field: &&Field| {
                field.is_called(wanted) && field.filled == Filled::No && field.value.is_object()
            };
            let field = self.fields.iter().find(is_it);
            field.map(|field| field.name.to_owned())
        })
    }

    /// Whether a field's name begins so.
    pub fn has_name_from(&self, stem: &str) -> bool {
        let is_it = |field: &Field| {
            let english = field.english.unwrap_or_default();
            field.plain.starts_with(stem) || english.starts_with(stem)
        };
        self.fields.iter().any(is_it)
    }

    /// Whether something is in the field of that name.
    pub fn is_filled(&self, name: &str) -> bool {
        let is_it = |field: &Field| field.name == name && field.filled == Filled::Yes;
        self.fields.iter().any(is_it)
    }

    pub fn value(&self, name: &str) -> Option<&'a Value> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        Some(field.value)
    }

    /// Names, plain names and values of the fields that are not null, in the order of the file.
    pub fn all(&self) -> impl Iterator<Item = (&'a str, &str, &'a Value)> {
        let fields = self
            .fields
            .iter()
            .filter(|field| field.filled != Filled::No);
        fields.map(|field| (field.name, field.plain.as_str(), field.value))
    }
}

/// Small letters and digits of a name.
pub fn plain(name: &str) -> String {
    name.chars()
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn filled(value: &Value) -> Filled {
    match value {
        Value::Null => Filled::No,
        Value::String(text) if text.trim().is_empty() => Filled::Blank,
        Value::Array(list) => of_items(list.iter()),
        Value::Object(fields) => of_items(fields.values()),
        _ => Filled::Yes,
    }
}

fn of_items<'a>(mut items: impl Iterator<Item = &'a Value>) -> Filled {
    let Some(first) = items.next() else {
        return Filled::Blank;
    };
    let mut most = filled(first);
    for item in items {
        if most == Filled::Yes {
            break;
        }
        most = most.max(filled(item));
    }
    most
}
