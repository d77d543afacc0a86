//! Nested fields, and the levels by which Parquet distinguishes them (Melnik et al., "Dremel", 2010).

use std::ops::Range;

use parquet::{
    basic::{ConvertedType, LogicalType, Repetition},
    schema::types::Type,
};

const MAX_DEPTH: usize = 32;

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub name: String,
    /// The definition level from which on it is not null.
    pub present: u32,
    /// The leaves in it.
    pub columns: Range<usize>,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Leaf,
    Struct(Vec<Field>),
    List(Repeated, Box<Field>),
    Map(Repeated, Box<[Field; 2]>),
}

/// The levels of a repeated field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeated {
    /// The definition level from which on there is an item.
    pub filled: u32,
    /// The repetition level from which on an item continues the list.
    pub further: u32,
}

#[derive(Clone, Copy)]
struct Levels {
    def: u32,
    rep: u32,
    depth: usize,
}

/// The fields of a message; `None` if they are nested too deeply.
pub(super) fn fields(message: &Type) -> Option<Vec<Field>> {
    let levels = Levels {
        def: 0,
        rep: 0,
        depth: 0,
    };
    children(message, levels, &mut 0)
}

fn children(group: &Type, levels: Levels, next: &mut usize) -> Option<Vec<Field>> {
    let fields = group.get_fields().iter();
    fields
        .map(|field| self::field(field, levels, next))
        .collect()
}

/// A field that may be optional or repeated.
fn field(kind: &Type, levels: Levels, next: &mut usize) -> Option<Field> {
    let info = kind.get_basic_info();
    let repetition = info.has_repetition().then(|| info.repetition());
    match repetition {
        Some(Repetition::REPEATED) => {
            let first = *next;
            let (repeated, inside) = repeated(levels)?;
            let item = content(kind, inside, next)?;
            Some(Field {
                name: kind.name().to_owned(),
                present: levels.def,
                columns: first..*next,
                content: Content::List(repeated, Box::new(item)),
            })
        }
        Some(Repetition::OPTIONAL) => {
            let def = levels.def + 1;
            content(kind, Levels { def, ..levels }, next)
        }
        _ => content(kind, levels, next),
    }
}

fn repeated(levels: Levels) -> Option<(Repeated, Levels)> {
    let inside = Levels {
        def: levels.def + 1,
        rep: levels.rep + 1,
        depth: levels.depth + 1,
    };
    let repeated = Repeated {
        filled: inside.def,
        further: inside.rep,
    };
    (inside.depth < MAX_DEPTH).then_some((repeated, inside))
}

/// The content of a field that is not null.
fn content(kind: &Type, levels: Levels, next: &mut usize) -> Option<Field> {
    let first = *next;
    let content = if kind.is_primitive() {
        *next += 1;
        Content::Leaf
    } else {
        let only = match kind.get_fields() {
            [only] if is_repeated(only) => Some(only.as_ref()),
            _ => None,
        };
        match (annotation(kind), only) {
            (Some(Annotation::List), Some(only)) => {
                let (repeated, inside) = repeated(levels)?;
                let item = match list_item(kind, only) {
                    Some(item) => field(item, inside, next)?,
                    None => content(only, inside, next)?,
                };
                Content::List(repeated, Box::new(item))
            }
            (Some(Annotation::Map), Some(only)) if only.is_group() => match only.get_fields() {
                [key, value] => {
                    let (repeated, inside) = repeated(levels)?;
                    let key = field(key, inside, next)?;
                    Content::Map(repeated, Box::new([key, field(value, inside, next)?]))
                }
                _ => Content::Struct(children(kind, deeper(levels)?, next)?),
            },
            _ => Content::Struct(children(kind, deeper(levels)?, next)?),
        }
    };
    Some(Field {
        name: kind.name().to_owned(),
        present: levels.def,
        columns: first..*next,
        content,
    })
}

fn deeper(levels: Levels) -> Option<Levels> {
    let depth = levels.depth + 1;
    (depth < MAX_DEPTH).then_some(Levels { depth, ..levels })
}

enum Annotation {
    List,
    Map,
}

fn annotation(kind: &Type) -> Option<Annotation> {
    let info = kind.get_basic_info();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::List), _) | (_, ConvertedType::LIST) => Some(Annotation::List),
        (Some(LogicalType::Map), _) | (_, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE) => {
            Some(Annotation::Map)
        }
        _ => None,
    }
}

fn is_repeated(kind: &Type) -> bool {
    let info = kind.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// The item field inside the repeated field of a list; `None` if the repeated field is itself the item, as in old
/// writers (parquet-format, LogicalTypes.md, "Backward-compatibility rules").
fn list_item<'a>(list: &Type, repeated: &'a Type) -> Option<&'a Type> {
    if repeated.is_primitive() {
        return None;
    }
    let [item] = repeated.get_fields() else {
        return None;
    };
    let name = repeated.name();
    let is_item = name == "array" || name == format!("{}_tuple", list.name());
    (!is_item || is_repeated(item)).then_some(item)
}
