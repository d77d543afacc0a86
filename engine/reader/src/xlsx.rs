//! Excel's workbooks to records: the first sheet that holds anything, row by row.
//!
//! Our own small reader, on top of the zip reader: calamine holds a sheet as one block of cells, whose size two
//! cells in a crafted file decide, and brings readers of zip and XML along.

mod parts;
mod sheet;
mod xml;

use std::io;

use self::{
    parts::{SharedTexts, SheetName},
    sheet::{Sheet, Table},
};
use super::{
    error::DatasetError,
    output::Output,
    source::{Stream, rows_limit},
};

/// The part that a zip is told to be a workbook by.
pub(super) const WORKBOOK: &str = "xl/workbook.xml";
const RELATIONS: &str = "xl/_rels/workbook.xml.rels";
const SHARED_TEXTS: &str = "xl/sharedStrings.xml";
const STYLES: &str = "xl/styles.xml";

/// The parts of a workbook.
pub(super) trait Parts {
    /// Calls `read` with a part; `false` where there is none of that name.
    fn with(
        &mut self,
        name: &str,
        read: &mut dyn FnMut(&mut dyn Stream) -> io::Result<()>,
    ) -> io::Result<bool>;
}

/// Reads a workbook of `num_bytes` bytes.
pub(super) fn read(
    name: &str,
    parts: &mut dyn Parts,
    num_bytes: u64,
    output: &mut Output,
) -> Result<(), DatasetError> {
    let reading = |error: io::Error| DatasetError::reading(name, &error);
    let (mut sheets, mut is_1904) = (Vec::new(), false);
    let mut told = |stream: &mut dyn Stream| {
        (sheets, is_1904) = parts::sheets(stream.open()?)?;
        Ok(())
    };
    parts.with(WORKBOOK, &mut told).map_err(reading)?;
    let mut relations = Vec::new();
    let mut told = |stream: &mut dyn Stream| {
        relations = parts::relations(stream.open()?)?;
        Ok(())
    };
    parts.with(RELATIONS, &mut told).map_err(reading)?;
    let mut formats = Vec::new();
    let mut told = |stream: &mut dyn Stream| {
        formats = parts::formats(stream.open()?)?;
        Ok(())
    };
    parts.with(STYLES, &mut told).map_err(reading)?;
    let most = usize::try_from(2 * num_bytes + (24 << 20)).unwrap_or(usize::MAX);
    let mut texts = SharedTexts::default();
    let mut told = |stream: &mut dyn Stream| {
        texts = SharedTexts::read(stream.open()?, most)?;
        Ok(())
    };
    parts.with(SHARED_TEXTS, &mut told).map_err(reading)?;

    sheets.sort_by_key(|sheet| sheet.is_hidden);
    let part = |sheet: &SheetName| {
        let target = relations.iter().find(|(id, _)| *id == sheet.id);
        target.map(|(_, target)| target.as_str())
    };
    for sheet in &sheets {
        let Some(part) = part(sheet).filter(|part| !part.contains("chartsheet")) else {
            continue;
        };
        let mut merged = Vec::new();
        let mut told = |stream: &mut dyn Stream| {
            merged = parts::merged(stream.open()?)?;
            Ok(())
        };
        parts.with(part, &mut told).map_err(reading)?;
        let mut table = Table::new(name, &sheet.name, rows_limit(num_bytes));
        let mut outcome = Ok(());
        let mut told = |stream: &mut dyn Stream| {
            let mut rows = Sheet::new(stream.open()?, &texts, &formats, is_1904, &merged);
            while let Some(row) = rows.next()? {
                outcome = table.row(row, output);
                if outcome.is_err() {
                    return Ok(());
                }
            }
            outcome = table.finish(output);
            Ok(())
        };
        parts.with(part, &mut told).map_err(reading)?;
        outcome?;
        if table.has_rows {
            let others = sheets.iter().filter(|other| *other != sheet);
            let others: Vec<String> = others.map(|other| format!("{:?}", other.name)).collect();
            let note = match others.as_slice() {
                [] => return Ok(()),
                [other] => format!("The sheet {other} was not read; save it as a file of its own."),
                others => format!(
                    "The sheets {} were not read; save each as a file of its own.",
                    others[..others.len().min(10)].join(", ")
                ),
            };
            output.note(name, &note);
            return Ok(());
        }
    }
    Err(DatasetError::Archive {
        file: name.to_owned(),
        what: "no sheet of the workbook holds rows".to_owned(),
        remedy: "Put the rows on its first sheet, under a row with the names of the columns.",
    })
}
