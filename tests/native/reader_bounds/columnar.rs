//! Parquet files whose values are said once and meant a million times.

use parquet::basic::Encoding;

use crate::{
    are_drills, check_each,
    expanding::{numbers, properties, texts},
    kind::Kind,
    refused,
};

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
