//! Which rows of a long table are in sight, and how much room stands for the others.

/// Browsers draw nothing beyond some ten million pixels; longer tables scroll faster than their rows.
const MAX_PX: f64 = 8_000_000.0;
/// Rows drawn above and below what is in sight.
const MARGIN: usize = 4;

/// A table of rows of one height, and the part of it that can be seen at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Table {
    pub num_rows: usize,
    pub row_px: f64,
    /// Height of what can be seen.
    pub view_px: f64,
}

/// The rows to draw: `first` and `count`, with the room above and below them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub first: usize,
    pub count: usize,
    pub above_px: f64,
    pub below_px: f64,
    /// The first row that is wholly or mostly in sight, and how many are.
    pub seen_first: usize,
    pub seen_count: usize,
}

impl Table {
    fn full_px(&self) -> f64 {
        self.num_rows as f64 * self.row_px
    }

    /// What the scroll bar moves over.
    fn scroll_px(&self) -> f64 {
        self.full_px().min(MAX_PX)
    }

    /// Rows' pixels that a scroll bar's pixel stands for.
    fn stretch(&self) -> f64 {
        let room = self.scroll_px() - self.view_px;
        if room <= 0.0 {
            return 1.0;
        }
        (self.full_px() - self.view_px) / room
    }

    pub fn seen_count(&self) -> usize {
        ((self.view_px / self.row_px).floor() as usize)
            .max(1)
            .min(self.num_rows)
    }

    /// What to draw when the table is scrolled this far.
    pub fn window(&self, scroll_top: f64) -> Window {
        let most = (self.scroll_px() - self.view_px).max(0.0);
        let scroll_top = scroll_top.clamp(0.0, most);
        // Where the rows would be scrolled to, were the room not cut.
        let top_px = scroll_top * self.stretch();
        let in_sight = (top_px / self.row_px).floor() as usize;
        let first = in_sight.saturating_sub(MARGIN).min(self.num_rows);
        let last = in_sight + (self.view_px / self.row_px).ceil() as usize + 1 + MARGIN;
        let last = last.min(self.num_rows).max(first);
        let above_px = (scroll_top - (top_px - first as f64 * self.row_px)).max(0.0);
        let drawn_px = (last - first) as f64 * self.row_px;
        let seen_count = self.seen_count();
        let nearest = (top_px / self.row_px).round() as usize;
        Window {
            first,
            count: last - first,
            above_px,
            below_px: (self.scroll_px() - above_px - drawn_px).max(0.0),
            seen_first: nearest.min(self.num_rows - seen_count),
            seen_count,
        }
    }

    /// How far to scroll so that a row is the first in sight.
    pub fn scroll_top(&self, row: usize) -> f64 {
        let most = (self.scroll_px() - self.view_px).max(0.0);
        (row as f64 * self.row_px / self.stretch()).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Table = Table {
        num_rows: 20,
        row_px: 50.0,
        view_px: 400.0,
    };
    const LONG: Table = Table {
        num_rows: 1_000_000,
        ..SHORT
    };

    #[test]
    fn what_is_in_sight_is_drawn_wherever_one_scrolls() {
        for table in [SHORT, LONG] {
            let most = table.scroll_px() - table.view_px;
            for step in 0..=1000 {
                let scroll_top = most * f64::from(step) / 1000.0;
                let window = table.window(scroll_top);
                let (top, bottom) = (
                    window.above_px,
                    window.above_px + window.count as f64 * table.row_px,
                );
                assert!(top <= scroll_top + 1e-6, "{scroll_top}: {window:?}");
                assert!(
                    bottom >= scroll_top + table.view_px - 1e-6,
                    "{scroll_top}: {window:?}"
                );
                let whole = bottom + window.below_px;
                assert!((whole - table.scroll_px()).abs() < 1.0, "{window:?}");
                assert!(window.count <= 18, "few rows are drawn: {window:?}");
            }
        }
    }

    #[test]
    fn both_ends_are_reached() {
        for table in [SHORT, LONG] {
            assert_eq!(table.window(0.0).seen_first, 0);
            let end = table.window(f64::MAX);
            assert_eq!(end.first + end.count, table.num_rows);
            assert_eq!(end.seen_first + end.seen_count, table.num_rows);
        }
    }

    #[test]
    fn a_row_that_is_jumped_to_is_the_first_in_sight() {
        for row in [0, 1, 7, 11] {
            let window = SHORT.window(SHORT.scroll_top(row));
            assert_eq!(window.seen_first, row);
        }
        for row in [123_456, 999_000, 3] {
            let window = LONG.window(LONG.scroll_top(row));
            assert_eq!(window.seen_first, row);
        }
    }

    #[test]
    fn an_empty_table_has_an_empty_window() {
        let empty = Table {
            num_rows: 0,
            ..SHORT
        };
        let window = empty.window(30.0);
        assert_eq!((window.first, window.count, window.seen_count), (0, 0, 0));
        assert_eq!((window.above_px, window.below_px), (0.0, 0.0));
    }
}
