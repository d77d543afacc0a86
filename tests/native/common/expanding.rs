//! Parquet files whose values are said once and meant a million times.

use std::sync::Arc;

use parquet::{
    basic::Encoding,
    data_type::{BoolType, ByteArray, ByteArrayType, Int64Type},
    file::{
        properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};

/// Pages of many values, and all rows in one group.
pub fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_data_page_row_count_limit(4_000_000)
        .set_data_page_size_limit(64 << 20)
        .set_write_batch_size(4 << 20)
        .set_max_row_group_row_count(None)
}

/// A file of so many columns, with the same text, or none, in every row.
pub fn texts(
    columns: usize,
    rows: usize,
    value: Option<&str>,
    properties: WriterProperties,
) -> Vec<u8> {
    let fields = fields(columns, |name| {
        format!("OPTIONAL BYTE_ARRAY {name} (UTF8);")
    });
    written(&fields, properties, |column| {
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
    })
}

/// A file of so many columns, with the same number in every row.
pub fn numbers(rows: usize, encoding: Encoding, columns: usize) -> Vec<u8> {
    let fields = fields(columns, |name| format!("REQUIRED INT64 {name};"));
    let properties = properties()
        .set_dictionary_enabled(false)
        .set_encoding(encoding)
        .build();
    written(&fields, properties, |column| {
        let typed = column.typed::<Int64Type>();
        typed.write_batch(&vec![7; rows], None, None).unwrap();
    })
}

/// A file of one column, with `true` in every row, as one run.
pub fn flags(rows: usize) -> Vec<u8> {
    let properties = properties()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .build();
    written("REQUIRED BOOLEAN c;", properties, |column| {
        let typed = column.typed::<BoolType>();
        typed.write_batch(&vec![true; rows], None, None).unwrap();
    })
}

/// The schema's fields `c0`, `c1` and so on, each as `field` writes it.
fn fields(columns: usize, field: impl Fn(&str) -> String) -> String {
    (0..columns)
        .map(|index| field(&format!("c{index}")))
        .collect()
}

/// A file with one group of rows, each of whose columns `write` fills.
fn written(
    fields: &str,
    properties: WriterProperties,
    write: impl Fn(&mut SerializedColumnWriter<'_>),
) -> Vec<u8> {
    let schema = parse_message_type(&format!("message m {{ {fields} }}")).unwrap();
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        write(&mut column);
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}
