//! Parquet files whose values are said once and meant a million times.

use std::sync::Arc;

use parquet::{
    basic::Encoding,
    data_type::{ByteArray, ByteArrayType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use crate::{are_drills, check_each, kind::Kind, refused};

fn properties() -> parquet::file::properties::WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_data_page_row_count_limit(4_000_000)
        .set_data_page_size_limit(64 << 20)
        .set_write_batch_size(4 << 20)
        .set_max_row_group_row_count(None)
}

/// A file of one row group; of each column the definition levels and the values.
fn texts(
    columns: usize,
    rows: usize,
    value: Option<&str>,
    properties: WriterProperties,
) -> Vec<u8> {
    let fields: String = (0..columns)
        .map(|index| format!("OPTIONAL BYTE_ARRAY c{index} (UTF8);"))
        .collect();
    let schema = parse_message_type(&format!("message m {{ {fields} }}")).unwrap();
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        let typed = column.typed::<ByteArrayType>();
        let mut left = rows;
        while left > 0 {
            let count = left.min(1 << 20);
            let (levels, values) = match value {
                Some(value) => (vec![1; count], vec![ByteArray::from(value); count]),
                None => (vec![0; count], Vec::new()),
            };
            typed.write_batch(&values, Some(&levels), None).unwrap();
            left -= count;
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

/// A file of one column of numbers, or of lists of numbers.
fn numbers(rows: usize, encoding: Encoding, columns: usize) -> Vec<u8> {
    let fields: String = (0..columns)
        .map(|index| format!("REQUIRED INT64 c{index};"))
        .collect();
    let schema = parse_message_type(&format!("message m {{ {fields} }}")).unwrap();
    let properties = properties()
        .set_dictionary_enabled(false)
        .set_encoding(encoding)
        .build();
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        column
            .typed::<Int64Type>()
            .write_batch(&vec![7; rows], None, None)
            .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn parquet_that_expands() {
    let mut kind = Kind::new("Parquet that expands");
    let equal = properties().build();
    let (long, short) = ("word ".repeat(200_000), "some words");
    let front = properties()
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::DELTA_BYTE_ARRAY)
        .build();
    // Without drills, still more than is read of them: a million rows of nulls, 200 rows of 2 MB.
    let (many, nulls, long_rows) = match are_drills() {
        true => (1 << 20, 50_000_000, 100_000),
        false => (1 << 14, 2_000_000, 1_000),
    };
    refused(
        &mut kind,
        "a column of nulls",
        "a.parquet",
        &texts(1, nulls, None, equal.clone()),
        "rows of more than 64.0 MB",
    );
    refused(
        &mut kind,
        "a text of 1 MB many times",
        "a.parquet",
        &texts(2, long_rows, Some(&long), equal.clone()),
        "rows of more than",
    );
    check_each(
        &mut kind,
        "a.parquet",
        &[
            ("50 columns of nulls", &|| {
                texts(50, many, None, equal.clone())
            }),
            ("equal rows", &|| {
                texts(1, 4 * many, Some(short), equal.clone())
            }),
            ("50 columns of equal rows", &|| {
                texts(50, many, Some(short), equal.clone())
            }),
            ("texts of 1 MB by their beginnings", &|| {
                texts(1, 2000, Some(&long), front.clone())
            }),
            ("equal numbers", &|| {
                numbers(4 * many, Encoding::DELTA_BINARY_PACKED, 1)
            }),
            ("20 columns of equal numbers", &|| {
                numbers(4 * many, Encoding::DELTA_BINARY_PACKED, 20)
            }),
        ],
    );
}
