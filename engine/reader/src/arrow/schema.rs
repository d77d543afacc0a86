//! An Arrow schema: the fields of rows and how their values lie in buffers.

use formats::text::MAX_DEPTH;

use super::flat::Table;
use crate::parquet::value::Meaning;

/// Fields in all, those inside others included.
const MAX_FIELDS: usize = 4096;

/// A field of rows, or of a struct, or the items of a list.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub name: String,
    pub content: Content,
    pub children: Vec<Field>,
    /// The number of the dictionary that values are indices into, and the width of those in bytes.
    pub dictionary: Option<(i64, usize)>,
}

/// How values lie in buffers, and what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Null,
    Bool,
    /// Whole numbers of that many bytes.
    Int(usize, Meaning),
    Float(usize),
    /// Bytes after offsets of that many bytes; texts most often.
    Bytes(usize),
    FixedBytes(usize, Meaning),
    /// Bytes after views, in any number of buffers.
    View,
    Struct,
    /// Items after offsets of that many bytes.
    List(usize),
    FixedList(usize),
    Map,
    /// A kind of value that is not read, with its buffers besides that of what is null, and whether it has that.
    Unread(&'static str, usize, bool),
}

/// The fields of a schema, and what `datasets` says of them.
pub(super) struct Schema {
    pub fields: Vec<Field>,
    pub features: Option<String>,
    pub is_big_endian: bool,
}

impl Schema {
    pub(super) fn parse(table: Table) -> Option<Self> {
        let mut num_left = MAX_FIELDS;
        let fields = match table.tables(1) {
            Some(fields) => fields
                .into_iter()
                .map(|field| self::field(field, 0, &mut num_left))
                .collect::<Option<_>>()?,
            None => Vec::new(),
        };
        let metadata = table.tables(2).unwrap_or_default();
        let features = metadata
            .into_iter()
            .find(|pair| pair.text(0) == Some("huggingface"))
            .and_then(|pair| pair.text(1).map(str::to_owned));
        Some(Self {
            fields,
            features,
            is_big_endian: table.short(0).unwrap_or(0) != 0,
        })
    }
}

fn field(table: Table, depth: usize, num_left: &mut usize) -> Option<Field> {
    *num_left = num_left.checked_sub(1)?;
    if depth > MAX_DEPTH {
        return None;
    }
    let children = match table.tables(5) {
        Some(children) => children
            .into_iter()
            .map(|child| field(child, depth + 1, num_left))
            .collect::<Option<_>>()?,
        None => Vec::new(),
    };
    let dictionary = match table.table(4) {
        Some(encoding) => {
            let bits = encoding.table(1).and_then(|index| index.int(0));
            Some((encoding.long(0).unwrap_or(0), width(bits.unwrap_or(32))?))
        }
        None => None,
    };
    Some(Field {
        name: table.text(0).unwrap_or_default().to_owned(),
        content: content(table, &children)?,
        children,
        dictionary,
    })
}

fn width(bits: i32) -> Option<usize> {
    [8, 16, 32, 64].contains(&bits).then_some(bits as usize / 8)
}

/// By the numbers of `Type` in Arrow's `Schema.fbs`.
fn content(table: Table, children: &[Field]) -> Option<Content> {
    let kind = table.byte(2).unwrap_or(0);
    let detail = table.table(3);
    let int = |number: usize| detail.and_then(|detail| detail.int(number));
    let short = |number: usize| detail.and_then(|detail| detail.short(number));
    let parts = |unit: i16| 1000i64.pow(u32::from(unit.clamp(0, 3) as u16));
    let size = |number: usize| usize::try_from(int(number).unwrap_or(0)).ok();
    let has_children = |count: usize| children.len() == count;
    Some(match kind {
        1 => Content::Null,
        2 => {
            let is_signed = detail.and_then(|detail| detail.byte(1)) == Some(1);
            let meaning = match is_signed {
                true => Meaning::Itself,
                false => Meaning::Unsigned,
            };
            Content::Int(width(int(0).unwrap_or(0))?, meaning)
        }
        3 => Content::Float(match short(0).unwrap_or(0) {
            0 => 2,
            1 => 4,
            _ => 8,
        }),
        4 | 5 => Content::Bytes(4),
        6 => Content::Bool,
        7 => {
            let scale = usize::try_from(int(1).unwrap_or(0)).unwrap_or(0);
            let bits = int(2).unwrap_or(128);
            if !(8..=256).contains(&bits) || bits % 8 != 0 {
                return None;
            }
            Content::FixedBytes(bits as usize / 8, Meaning::Decimal(scale.min(100)))
        }
        8 => match short(0).unwrap_or(1) {
            0 => Content::Int(4, Meaning::Date),
            _ => Content::Int(8, Meaning::Timestamp(1000, false)),
        },
        9 => {
            let bits = int(1).unwrap_or(32);
            Content::Int(width(bits)?, Meaning::Time(parts(short(0).unwrap_or(1))))
        }
        10 => {
            let is_utc = detail.and_then(|detail| detail.text(1)).is_some();
            let unit = short(0).unwrap_or(0);
            Content::Int(8, Meaning::Timestamp(parts(unit), is_utc))
        }
        11 => Content::Unread("intervals", 1, true),
        12 if has_children(1) => Content::List(4),
        13 => Content::Struct,
        14 => match short(0).unwrap_or(0) {
            0 => Content::Unread("a union", 1, false),
            _ => Content::Unread("a union", 2, false),
        },
        15 => Content::FixedBytes(size(0)?, Meaning::Itself),
        16 if has_children(1) => Content::FixedList(size(0)?),
        17 if has_children(1) && children[0].children.len() == 2 => Content::Map,
        18 => Content::Int(8, Meaning::Itself),
        19 | 20 => Content::Bytes(8),
        21 if has_children(1) => Content::List(8),
        22 => Content::Unread("run-end encoded", 0, false),
        23 | 24 => Content::View,
        25 | 26 => Content::Unread("a list view", 2, true),
        _ => return None,
    })
}
