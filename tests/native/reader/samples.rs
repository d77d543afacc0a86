//! The page's own samples are read as they are meant, and nothing is wrong with them.

use protocol::{ReadSpec, RowShape};

use super::dataset::read_files;

#[test]
fn the_samples_of_the_page_are_sound() {
    let samples: [(&str, &str, RowShape); 3] = [
        (
            "manner.jsonl",
            include_str!("../../../app/assets/samples/manner.jsonl"),
            RowShape::PromptCompletion,
        ),
        (
            "extraction.jsonl",
            include_str!("../../../app/assets/samples/extraction.jsonl"),
            RowShape::Messages,
        ),
        (
            "classification.jsonl",
            include_str!("../../../app/assets/samples/classification.jsonl"),
            RowShape::Classification,
        ),
    ];
    for (name, text, shape) in samples {
        let reading = read_files(&[(name, text.as_bytes())], &ReadSpec::default());
        let summary = reading
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .dataset
            .summary;
        let num_rows = text.lines().count();
        assert_eq!(summary.num_usable_rows, num_rows, "{name}");
        assert_eq!(summary.shapes, [(shape, num_rows)], "{name}");
        assert!(
            summary.findings.is_empty(),
            "{name}: {:?}",
            summary.findings
        );
        assert!(summary.notes.is_empty(), "{name}: {:?}", summary.notes);
    }
}
