//! What `datasets` says of columns: the names that the numbers of labels stand for.
//!
//! They stand in the metadata of a Parquet or Arrow file, or in a file next to the data: `dataset_infos.json`,
//! `dataset_info.json`, or the front matter of `README.md`.

mod card;

use formats::text::{MAX_DEPTH, parse_json};
use serde_json::{Map, Value};

use self::card::of_card;

/// A column's values, as far as they are labels.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Feature {
    /// Numbers of these names; none are known where it is empty.
    Class(Vec<String>),
    Struct(Vec<(String, Feature)>),
    List(Box<Feature>),
}

/// The columns that are labels, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Features {
    columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    feature: Feature,
    /// Numbers that names were put in the place of, and those without a name.
    num_named: usize,
    num_unnamed: usize,
}

impl Features {
    /// By the metadata `huggingface` of a Parquet or Arrow file.
    pub(super) fn of_metadata(json: &str) -> Option<Self> {
        let value: Value = parse_json(json).ok()?;
        Self::of_features(value.get("info")?.get("features")?)
    }

    /// Whether a file of that name may tell about labels.
    pub(super) fn is_told_by(name: &str) -> bool {
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let names = ["dataset_info.json", "dataset_infos.json", "readme.md"];
        names.contains(&name.to_ascii_lowercase().as_str())
    }

    /// Reads a file that lies next to the data.
    pub(super) fn of_companion(name: &str, text: &str) -> Option<Self> {
        let name = name.rsplit(['/', '\\']).next()?.to_ascii_lowercase();
        match name.as_str() {
            "dataset_info.json" => {
                let value: Value = parse_json(text).ok()?;
                Self::of_features(value.get("features")?)
            }
            "dataset_infos.json" => {
                let value: Value = parse_json(text).ok()?;
                let configs = value.as_object()?.values();
                Self::common(configs.map(|config| Self::of_features(config.get("features")?)))
            }
            "readme.md" => of_card(text),
            _ => None,
        }
    }

    /// What all configurations of a dataset have in common.
    fn common(configs: impl Iterator<Item = Option<Self>>) -> Option<Self> {
        let mut configs = configs.map(Option::unwrap_or_default);
        let mut common = configs.next()?;
        for config in configs {
            common.columns.retain(|column| {
                let other = config
                    .columns
                    .iter()
                    .find(|other| other.name == column.name);
                other.is_none_or(|other| other.feature == column.feature)
            });
            let is_new =
                |column: &Column| !common.columns.iter().any(|known| known.name == column.name);
            let new: Vec<Column> = config.columns.into_iter().filter(is_new).collect();
            common.columns.extend(new);
        }
        common.some()
    }

    fn of_features(features: &Value) -> Option<Self> {
        let columns = fields(features.as_object()?, 0)
            .into_iter()
            .map(|(name, feature)| Column::new(name, feature));
        Self {
            columns: columns.collect(),
        }
        .some()
    }

    fn some(self) -> Option<Self> {
        (!self.columns.is_empty()).then_some(self)
    }

    /// Puts names in the place of a record's numbers.
    pub(super) fn apply(&mut self, fields: &mut [(String, Value)]) {
        for column in &mut self.columns {
            let field = fields.iter_mut().find(|(name, _)| *name == column.name);
            if let Some((_, value)) = field {
                let counts = (&mut column.num_named, &mut column.num_unnamed);
                apply(&column.feature, value, counts.0, counts.1);
            }
        }
    }

    /// What was done, in sentences, and starts counting again.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        for column in &mut self.columns {
            let name = &column.name;
            let numbers = |count: usize| match count {
                1 => "1 number".to_owned(),
                count => format!("{count} numbers"),
            };
            if column.num_named > 0 {
                let names = names(&column.feature).unwrap_or_default();
                let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
                let more = if names.len() > shown.len() {
                    ", ..."
                } else {
                    ""
                };
                notes.push(format!(
                    "Label names replaced {} in {name:?}, as the dataset's metadata says: {}{more}.",
                    numbers(column.num_named),
                    shown.join(", "),
                ));
            }
            if column.num_unnamed > 0 {
                let labels = match column.num_unnamed {
                    1 => "stands for a label whose name",
                    _ => "stand for labels whose names",
                };
                notes.push(format!(
                    "{} in {name:?} {labels} the dataset's metadata does not give; the numbers were kept.",
                    numbers(column.num_unnamed),
                ));
            }
            (column.num_named, column.num_unnamed) = (0, 0);
        }
        notes
    }
}

impl Column {
    fn new(name: String, feature: Feature) -> Self {
        Self {
            name,
            feature,
            num_named: 0,
            num_unnamed: 0,
        }
    }
}

fn names(feature: &Feature) -> Option<&[String]> {
    match feature {
        Feature::Class(names) => Some(names),
        Feature::List(item) => names(item),
        Feature::Struct(fields) => fields.iter().find_map(|(_, field)| names(field)),
    }
}

/// The fields of an object of features that are labels, or have some inside.
fn fields(features: &Map<String, Value>, depth: usize) -> Vec<(String, Feature)> {
    let fields = features.iter();
    fields
        .filter_map(|(name, value)| Some((name.clone(), feature(value, depth + 1)?)))
        .collect()
}

fn feature(value: &Value, depth: usize) -> Option<Feature> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::Array(items) => Some(Feature::List(Box::new(feature(items.first()?, depth + 1)?))),
        Value::Object(object) => match object.get("_type").and_then(Value::as_str) {
            Some("ClassLabel") => {
                let names = object.get("names").and_then(Value::as_array);
                let names = names.into_iter().flatten().filter_map(Value::as_str);
                Some(Feature::Class(names.map(str::to_owned).collect()))
            }
            Some("Sequence" | "List" | "LargeList") => {
                let item = feature(object.get("feature")?, depth + 1)?;
                Some(Feature::List(Box::new(item)))
            }
            Some(_) => None,
            None => {
                let fields = fields(object, depth);
                (!fields.is_empty()).then_some(Feature::Struct(fields))
            }
        },
        _ => None,
    }
}

fn apply(feature: &Feature, value: &mut Value, num_named: &mut usize, num_unnamed: &mut usize) {
    match (feature, value) {
        (Feature::Class(_), Value::Array(values)) => {
            for value in values {
                apply(feature, value, num_named, num_unnamed);
            }
        }
        (Feature::Class(names), value) => {
            let number = match &*value {
                Value::Number(number) => number.as_i64(),
                // A table's cell.
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            match number {
                None => {}
                // What is not labeled.
                Some(-1) => *value = Value::Null,
                Some(number) => {
                    let name = usize::try_from(number).ok().and_then(|at| names.get(at));
                    match name {
                        Some(name) => {
                            *value = Value::String(name.clone());
                            *num_named += 1;
                        }
                        None => *num_unnamed += 1,
                    }
                }
            }
        }
        (Feature::Struct(fields), Value::Object(object)) => {
            for (name, feature) in fields {
                if let Some(value) = object.get_mut(name) {
                    apply(feature, value, num_named, num_unnamed);
                }
            }
        }
        // A sequence of objects becomes an object of lists, unless it is kept as it is.
        (Feature::List(item), Value::Array(values)) => {
            for value in values {
                apply(item, value, num_named, num_unnamed);
            }
        }
        (Feature::List(item), value @ Value::Object(_)) => {
            if let Feature::Struct(fields) = item.as_ref() {
                let lists = fields
                    .iter()
                    .map(|(name, field)| (name.clone(), Feature::List(Box::new(field.clone()))));
                apply(
                    &Feature::Struct(lists.collect()),
                    value,
                    num_named,
                    num_unnamed,
                );
            }
        }
        _ => {}
    }
}
