use protocol::*;

use crate::state::reading::ReaderId;
use crate::state::rows::{BLOCK, Rows};

const NUM_ROWS: usize = 100_000;

fn row(row: usize) -> RowSummary {
    RowSummary {
        row,
        shape: RowShape::PromptCompletion,
        prompt: "p".into(),
        completion: "c".into(),
        num_turns: 0,
        findings: Vec::new(),
    }
}

fn many() -> Rows {
    let dataset = DatasetSummary {
        num_usable_rows: NUM_ROWS,
        first_rows: (0..50).map(row).collect(),
        ..DatasetSummary::default()
    };
    Rows::of(&dataset, Some(ReaderId(1)))
}

fn block(start: usize) -> Vec<RowSummary> {
    (start..(start + BLOCK).min(NUM_ROWS)).map(row).collect()
}

#[test]
fn one_block_is_asked_for_at_a_time() {
    let mut rows = many();
    assert_eq!(rows.wanted(0, 12), None, "the first rows are known");
    assert_eq!(rows.wanted(44, 12), Some(0), "the block of row 50");
    rows.ask(0);
    assert_eq!(rows.wanted(90_000, 12), None, "while one is on its way");
    rows.take(0, NUM_ROWS, RowFilter::All, block(0));
    assert_eq!(rows.get(63).unwrap().row, 63);
    assert_eq!(rows.wanted(44, 12), None);
}

#[test]
fn a_window_across_two_blocks_is_filled_by_two() {
    let mut rows = many();
    let first = 10 * BLOCK - 3;
    for start in [9 * BLOCK, 10 * BLOCK] {
        assert_eq!(rows.wanted(first, 8), Some(start));
        rows.ask(start);
        rows.take(start, NUM_ROWS, RowFilter::All, block(start));
    }
    assert_eq!(rows.wanted(first, 8), None);
    assert!((first..first + 8).all(|index| rows.get(index).unwrap().row == index));
}

#[test]
fn memory_does_not_grow_with_scrolling() {
    let mut rows = many();
    for start in (0..NUM_ROWS).step_by(BLOCK) {
        rows.take(start, NUM_ROWS, RowFilter::All, block(start));
    }
    let kept = (0..NUM_ROWS).filter(|&index| rows.get(index).is_some());
    assert!(kept.count() <= 1024);
    assert!(rows.get(NUM_ROWS - 1).is_some(), "the latest are kept");
}

#[test]
fn an_answer_to_an_earlier_filter_is_too_late() {
    let mut rows = many();
    rows.ask(640);
    let duplicates = RowFilter::Finding(FindingKind::Duplicate);
    rows.set_filter(duplicates, 70);
    rows.take(640, NUM_ROWS, RowFilter::All, block(640));
    assert_eq!((rows.total, rows.get(640)), (70, None));
    assert_eq!(rows.wanted(0, 8), Some(0));
    let found: Vec<RowSummary> = (0..BLOCK).map(|index| row(10 * index)).collect();
    rows.take(0, 70, duplicates, found);
    assert_eq!(rows.get(3).unwrap().row, 30);
}

#[test]
fn a_reader_that_gives_less_than_it_said_is_not_asked_for_ever() {
    let mut rows = many();
    rows.ask(640);
    rows.take(640, NUM_ROWS, RowFilter::All, Vec::new());
    assert_eq!(rows.wanted(640, 8), None);
}
