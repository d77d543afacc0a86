//! Plain text and Markdown, cut into rows.

use protocol::TextSplit;

use super::records::{read_one, read_split};

const MARKDOWN: &str = "# Title\n\n## One\n\nFirst paragraph,\nstill first.\n\nSecond.\n```py\nx = 1\n\ny = 2\n```\n\n## Two\nLast.\n";

#[test]
fn paragraphs_stand_between_empty_lines() {
    let text = "\r\nOne,\r\ntwo.  \r\n \r\n\r\nThree.\r\n\r\nFour";
    let records = read_one("a.txt", text).unwrap();
    assert_eq!(records.kind(), ("plain text", "UTF-8"));
    assert_eq!(records.field("text"), ["One,\ntwo.", "Three.", "Four"]);
    let lines: Vec<_> = records.rows.iter().map(|(place, _)| place.line).collect();
    assert_eq!(lines, [Some(2), Some(6), Some(8)]);
}

#[test]
fn headings_keep_their_text_and_code_stays_whole() {
    for name in ["a.md", "notes"] {
        let records = read_one(name, MARKDOWN).unwrap();
        assert_eq!(records.kind().0, "Markdown");
        assert_eq!(
            records.field("text"),
            [
                "# Title\n\n## One\n\nFirst paragraph,\nstill first.",
                "Second.\n```py\nx = 1\n\ny = 2\n```",
                "## Two\nLast.",
            ]
        );
    }
    // A comment of a shell script in a text is no heading.
    let records = read_one("a.txt", "a\n# b\nc").unwrap();
    assert_eq!(records.field("text"), ["a\n# b\nc"]);
}

#[test]
fn a_text_may_be_one_row_or_pieces_of_a_length() {
    let files: [(&str, &[u8]); 1] = [("a.md", MARKDOWN.as_bytes())];
    let whole = read_split(&files, TextSplit::Document).unwrap();
    assert_eq!(whole.field("text"), [MARKDOWN.trim_end()]);
    let files: [(&str, &[u8]); 2] = [("a.txt", b"one\n\ntwo"), ("b.txt", b"three")];
    let several = read_split(&files, TextSplit::Automatic).unwrap();
    assert_eq!(several.field("text"), ["one\n\ntwo", "three"]);

    let text = "Żółw. Second one here! Third?\n\nshort\n\ntiny\n\nwithoutanyspaceatall";
    for characters in [1, 5, 12, 30, 1000] {
        let split = TextSplit::Length { characters };
        let records = read_split(&[("a.txt", text.as_bytes())], split).unwrap();
        let pieces = records.field("text");
        assert!(
            pieces
                .iter()
                .all(|piece| piece.chars().count() <= characters),
            "{pieces:?}"
        );
        let letters = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(letters(&pieces.concat()), letters(text), "{characters}");
    }
    let split = TextSplit::Length { characters: 12 };
    let records = read_split(&[("a.txt", text.as_bytes())], split).unwrap();
    assert_eq!(
        records.field("text"),
        [
            "Żółw.",
            "Second one",
            "here! Third?",
            "short\n\ntiny",
            "withoutanysp",
            "aceatall"
        ]
    );
}
