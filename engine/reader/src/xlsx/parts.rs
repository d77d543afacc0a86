//! The parts of a workbook other than its sheets: their names, the texts that cells share, and what numbers look like.

use std::io::{self, Read};

use formats::chunks::Chunks;

use super::xml::{Token, Xml};
use crate::{
    parquet::value::Meaning,
    source::{Bomb, StreamError},
};

/// Sheets that are looked at.
const MAX_SHEETS: usize = 1000;
const MAX_FORMATS: usize = 100_000;
const MAX_MERGED: usize = 100_000;

/// A sheet by its name, and the part that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SheetName {
    pub name: String,
    pub id: String,
    pub is_hidden: bool,
}

/// The sheets of a workbook in their order, and whether its days are counted from 1904.
pub(super) fn sheets(input: impl Read) -> io::Result<(Vec<SheetName>, bool)> {
    let mut xml = Xml::new(input);
    let (mut sheets, mut is_1904) = (Vec::new(), false);
    while let Some(token) = xml.next()? {
        let Token::Start { name, attributes } = token else {
            continue;
        };
        if name == "workbookPr" {
            let value = attributes.get("date1904").unwrap_or_default();
            is_1904 = ["1", "true"].contains(&value.as_str());
        } else if name == "sheet" && sheets.len() < MAX_SHEETS {
            sheets.push(SheetName {
                name: attributes.get("name").unwrap_or_default(),
                id: attributes.get("id").unwrap_or_default(),
                is_hidden: attributes
                    .get("state")
                    .is_some_and(|state| state != "visible"),
            });
        }
    }
    Ok((sheets, is_1904))
}

/// The parts of worksheets by their numbers in the workbook.
pub(super) fn relations(input: impl Read) -> io::Result<Vec<(String, String)>> {
    let mut xml = Xml::new(input);
    let mut relations = Vec::new();
    while let Some(token) = xml.next()? {
        if let Token::Start { attributes, .. } = token
            && let (Some(id), Some(target)) = (attributes.get("Id"), attributes.get("Target"))
            && relations.len() < 10 * MAX_SHEETS
        {
            let target = match target.strip_prefix('/') {
                Some(target) => target.to_owned(),
                None => format!("xl/{target}"),
            };
            relations.push((id, target));
        }
    }
    Ok(relations)
}

/// Texts that cells refer to by their number.
#[derive(Debug, Default)]
pub(super) struct SharedTexts {
    /// The texts one after another, in blocks that none of them crosses.
    blocks: Vec<String>,
    /// The block of each text, and its range there.
    places: Chunks<(u32, u32, u32)>,
}

/// Bytes of texts that lie together.
const BLOCK_BYTES: usize = 1 << 20;
/// What a text takes besides its own bytes.
const PLACE_BYTES: usize = size_of::<(u32, u32, u32)>();

impl SharedTexts {
    /// Reads them; they may take `most` bytes.
    pub(super) fn read(input: impl Read, most: usize) -> io::Result<Self> {
        let mut xml = Xml::new(input);
        let mut texts = Self::default();
        let (mut is_text, mut is_reading_aid) = (false, false);
        let (mut text, mut num_bytes) = (String::new(), 0);
        while let Some(token) = xml.next()? {
            match token {
                Token::Start { name: "t", .. } => is_text = true,
                Token::End("t") => is_text = false,
                Token::Start { name: "rPh", .. } => is_reading_aid = true,
                Token::End("rPh") => is_reading_aid = false,
                Token::Text(part) if is_text && !is_reading_aid => text += part,
                Token::End("si") => {
                    num_bytes += text.len() + PLACE_BYTES;
                    texts.push(&text);
                    text.clear();
                }
                _ => {}
            }
            if text.len() + num_bytes > most {
                let bomb = Bomb::Held(most as u64);
                return Err(io::Error::other(StreamError::Bomb(bomb)));
            }
        }
        Ok(texts)
    }

    fn push(&mut self, text: &str) {
        let fits = |block: &String| block.len() + text.len() <= BLOCK_BYTES;
        if !self.blocks.last().is_some_and(fits) {
            let capacity = text.len().max(BLOCK_BYTES);
            self.blocks.push(String::with_capacity(capacity));
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        let start = block.len();
        *block += text;
        let place = (number as u32, start as u32, block.len() as u32);
        self.places.push(place);
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let (block, start, end) = self.places.get(index)?;
        self.blocks
            .get(block as usize)?
            .get(start as usize..end as usize)
    }
}

/// What a number stands for, by the format of its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Number,
    Date,
    Time,
    DateTime,
    /// Digits after the point.
    Percent(usize),
}

impl Format {
    fn built_in(number: u32) -> Self {
        match number {
            9 => Self::Percent(0),
            10 => Self::Percent(2),
            14..=17 | 27..=36 | 50..=58 => Self::Date,
            18..=21 | 45..=47 => Self::Time,
            22 => Self::DateTime,
            _ => Self::Number,
        }
    }

    /// By a code such as `dd/mm/yyyy` or `0.0%`.
    fn of_code(code: &str) -> Self {
        let mut bare = String::new();
        let mut characters = code.chars();
        while let Some(character) = characters.next() {
            match character {
                ';' => break,
                '\\' | '_' | '*' => drop(characters.next()),
                '"' => drop(characters.by_ref().find(|&c| c == '"')),
                '[' => {
                    let inside: String = characters.by_ref().take_while(|&c| c != ']').collect();
                    // Hours beyond a day.
                    if ["h", "hh", "m", "mm", "s", "ss"].contains(&inside.to_lowercase().as_str()) {
                        bare += "h";
                    }
                }
                character => bare.extend(character.to_lowercase()),
            }
        }
        if bare == "general" || bare == "@" {
            return Self::Number;
        }
        if bare.contains('%') {
            let digits = bare.split_once('.').map_or("", |(_, digits)| digits);
            return Self::Percent(digits.chars().take_while(|c| "0#?".contains(*c)).count());
        }
        let has_time = bare.contains(['h', 's']);
        let has_date = bare.contains(['y', 'd']) || bare.contains('m') && !has_time;
        match (has_date, has_time) {
            (true, true) => Self::DateTime,
            (true, false) => Self::Date,
            (false, true) => Self::Time,
            (false, false) => Self::Number,
        }
    }

    /// A number as a reader of the sheet takes it.
    pub(super) fn text(self, number: f64, is_1904: bool) -> String {
        let epoch = if is_1904 { -24_107 } else { -25_569 };
        let milliseconds = (number * 86_400_000.0).round();
        let is_moment = (0.0..1e15).contains(&milliseconds);
        let (days, rest) = match is_moment {
            true => (
                milliseconds as i64 / 86_400_000,
                milliseconds as i64 % 86_400_000,
            ),
            false => (0, 0),
        };
        let written = |meaning: Meaning, number: i64| match meaning.of_int64(number) {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let date = || written(Meaning::Date, days + epoch);
        let time = || written(Meaning::Time(1000), rest);
        match self {
            Self::Date if is_moment && rest == 0 => date(),
            Self::Date | Self::DateTime if is_moment => format!("{} {}", date(), time()),
            Self::Time if is_moment => time(),
            Self::Percent(digits) => format!("{:.*}%", digits.min(30), number * 100.0),
            _ => plain(number),
        }
    }
}

/// A number with the 15 digits that spreadsheets show.
fn plain(number: f64) -> String {
    let shown = format!("{number:.14e}").parse().unwrap_or(number);
    format!("{shown}")
}

/// The formats of cells by the numbers of their styles.
pub(super) fn formats(input: impl Read) -> io::Result<Vec<Format>> {
    let mut xml = Xml::new(input);
    let mut codes = std::collections::HashMap::new();
    let mut formats = Vec::new();
    let mut is_of_cells = false;
    while let Some(token) = xml.next()? {
        match token {
            Token::Start {
                name: "numFmt",
                attributes,
            } if codes.len() < MAX_FORMATS => {
                let number = attributes
                    .get("numFmtId")
                    .and_then(|id| id.parse::<u32>().ok());
                let code = attributes.get("formatCode");
                if let (Some(number), Some(code)) = (number, code) {
                    codes.insert(number, Format::of_code(&code));
                }
            }
            Token::Start {
                name: "cellXfs", ..
            } => is_of_cells = true,
            Token::End("cellXfs") => is_of_cells = false,
            Token::Start {
                name: "xf",
                attributes,
            } if is_of_cells && formats.len() < MAX_FORMATS => {
                let number = attributes.get("numFmtId").and_then(|id| id.parse().ok());
                let number = number.unwrap_or(0);
                let format = codes.get(&number).copied();
                formats.push(format.unwrap_or_else(|| Format::built_in(number)));
            }
            _ => {}
        }
    }
    Ok(formats)
}

/// Cells of one column that are merged into one: the column, the first row and the last.
pub(super) type Merged = (usize, usize, usize);

/// The merged cells of a sheet that reach over several rows, by their first row.
pub(super) fn merged(input: impl Read) -> io::Result<Vec<Merged>> {
    let mut xml = Xml::new(input);
    let mut merged = Vec::new();
    while let Some(token) = xml.next()? {
        if let Token::Start {
            name: "mergeCell",
            attributes,
        } = token
            && let Some(range) = attributes.get("ref")
            && let Some((first, last)) = range.split_once(':')
            && let (Some((column, first)), Some((_, last))) = (place(first), place(last))
            && last > first
            && merged.len() < MAX_MERGED
        {
            merged.push((column, first, last));
        }
    }
    merged.sort_unstable_by_key(|&(_, first, _)| first);
    Ok(merged)
}

/// The column of a cell such as `B5`, from 0 on, and its row, from 1 on.
pub(super) fn place(cell: &str) -> Option<(usize, usize)> {
    let digits = cell.find(|c: char| c.is_ascii_digit())?;
    let mut column = 0usize;
    for letter in cell[..digits].bytes() {
        let letter = letter
            .to_ascii_uppercase()
            .checked_sub(b'A')
            .filter(|&letter| letter < 26)?;
        column = column
            .checked_mul(26)?
            .checked_add(usize::from(letter) + 1)?;
    }
    Some((column.checked_sub(1)?, cell[digits..].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_their_cells_show_them() {
        for (code, number, expected) in [
            ("General", 0.1 + 0.2, "0.3"),
            ("0.00", 1200.0, "1200"),
            ("dd/mm/yyyy", 45_351.0, "2024-02-29"),
            ("[$-407]d. mmmm yyyy;@", 45_351.0, "2024-02-29"),
            ("yyyy-mm-dd hh:mm", 45_351.5, "2024-02-29 12:00:00"),
            ("[h]:mm", 0.75, "18:00:00"),
            ("0.0%", 0.125, "12.5%"),
            ("#,##0.00\\ \"Tsd. €\"", 4.9, "4.9"),
            ("yyyy", 1e300, "1e300"),
        ] {
            let text = Format::of_code(code).text(number, false);
            assert_eq!(
                text.replace(&format!("1{}", "0".repeat(300)), "1e300"),
                expected,
                "{code}"
            );
        }
        assert_eq!(Format::built_in(14).text(0.0, true), "1904-01-01");
        assert_eq!(place("B5"), Some((1, 5)));
        assert_eq!(place("XFD1048576"), Some((16_383, 1_048_576)));
        assert_eq!(place("5"), None);
    }
}
