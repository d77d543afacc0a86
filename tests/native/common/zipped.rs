//! Zips as desktops write them, and as no program does.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A zip of these files, each deflated.
pub fn deflated(files: &[(&str, &[u8])]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    packed(files, options)
}

pub fn packed(files: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A workbook with one sheet, its rows and what comes after them, and the texts that its cells name.
pub fn workbook(rows: &str, texts: &str, after: &str) -> Vec<u8> {
    let sheet = format!("<worksheet><sheetData>{rows}</sheetData>{after}</worksheet>");
    let texts = format!("<sst>{texts}</sst>");
    deflated(&[
        (
            "xl/workbook.xml",
            b"<workbook><sheets><sheet name=\"a\" r:id=\"r1\"/></sheets></workbook>",
        ),
        (
            "xl/_rels/workbook.xml.rels",
            b"<R><Relationship Id=\"r1\" Target=\"worksheets/sheet1.xml\"/></R>",
        ),
        ("xl/sharedStrings.xml", texts.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ])
}

/// A zip that was written to a pipe, so that sizes come after the data.
pub fn piped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut writer = ZipWriter::new_stream(Vec::new());
    for (name, bytes) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Where the directory's first record begins, and where its last one ends.
fn directory(zip: &[u8]) -> (usize, usize) {
    let find = |mark: &[u8]| zip.windows(4).rposition(|bytes| bytes == mark).unwrap();
    let end = find(b"PK\x05\x06");
    let start = u32::from_le_bytes(*zip[end + 16..].first_chunk().unwrap());
    (start as usize, end)
}

/// The zip with its first record `count` times, so that as many entries share one file's bytes.
pub fn shared(zip: &[u8], count: u16) -> Vec<u8> {
    let (start, end) = directory(zip);
    let len = |at: usize| usize::from(u16::from_le_bytes([zip[start + at], zip[start + at + 1]]));
    let record = &zip[start..start + 46 + len(28) + len(30) + len(32)];
    let records = record.repeat(count.into());
    let mut last = zip[end..].to_vec();
    last[8..10].copy_from_slice(&count.to_le_bytes());
    last[10..12].copy_from_slice(&count.to_le_bytes());
    last[12..16].copy_from_slice(&(records.len() as u32).to_le_bytes());
    [&zip[..start], &records, &last].concat()
}

/// The zip with a number of 2 or 4 bytes in its first record changed.
pub fn changed(zip: &[u8], at: usize, number: &[u8]) -> Vec<u8> {
    let mut zip = zip.to_vec();
    let (start, _) = directory(&zip);
    zip[start + at..][..number.len()].copy_from_slice(number);
    zip
}
