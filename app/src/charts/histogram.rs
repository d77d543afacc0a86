//! A histogram of lengths, as bars.

use protocol::Histogram;

use super::picture::{Size, Tick};
use super::scale::{Scale, tick_text};

const MARGIN_LEFT: f64 = 48.0;
const MARGIN_RIGHT: f64 = 12.0;
const MARGIN_TOP: f64 = 26.0;
const MARGIN_BOTTOM: f64 = 28.0;
/// Narrower bars are joined with their neighbors.
const MIN_BAR_PX: f64 = 6.0;
/// A bar with few rows stays visible next to tall ones.
const MIN_HEIGHT_PX: f64 = 2.0;

/// Rows of some lengths: from `from` to below `to` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bin {
    pub from: usize,
    pub to: usize,
    /// Whether all longer rows count here, too.
    pub is_open: bool,
    pub num_rows: usize,
}

/// A bar in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    /// Whether all of its rows are cut.
    pub is_cut: bool,
}

/// Everything to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    pub x: Scale,
    pub y: Scale,
    pub x_ticks: Vec<Tick>,
    pub y_ticks: Vec<Tick>,
    pub bars: Vec<Bar>,
    /// The position of the cut, unless it is far beyond the longest row.
    pub cut_x: Option<f64>,
}

/// At most `most` bins over the same lengths; empty ones after the last row are left out.
pub fn bins(histogram: &Histogram, most: usize) -> Vec<Bin> {
    let counts = &histogram.counts;
    let used = counts
        .iter()
        .rposition(|&rows| rows > 0)
        .map_or(0, |last| last + 1);
    let joined = used.div_ceil(most.max(1)).max(1);
    let width = histogram.bin_tokens.max(1) * joined;
    let rows = counts[..used]
        .chunks(joined)
        .map(|counts| counts.iter().sum());
    rows.enumerate()
        .map(|(index, num_rows)| Bin {
            from: index * width,
            to: (index + 1) * width,
            is_open: (index + 1) * joined >= counts.len(),
            num_rows,
        })
        .collect()
}

/// Lays out the bars, with the cut at `cut` tokens; `None` if there are no rows.
pub fn bars(histogram: &Histogram, cut: usize, size: Size) -> Option<Bars> {
    let right = (size.width - MARGIN_RIGHT).max(MARGIN_LEFT + 1.0);
    let bottom = (size.height - MARGIN_BOTTOM).max(MARGIN_TOP + 1.0);
    let bins = bins(histogram, ((right - MARGIN_LEFT) / MIN_BAR_PX) as usize);
    let (end, highest) = (bins.last()?.to, bins.iter().map(|bin| bin.num_rows).max()?);
    let is_near = cut <= end.saturating_mul(2);
    let end = if is_near { end.max(cut) } else { end };
    let x = Scale::new((0.0, end as f64), (MARGIN_LEFT, right), false);
    let y = Scale::new((0.0, highest as f64), (bottom, MARGIN_TOP), false);
    let bar = |bin: &Bin| {
        let (left, right) = (
            x.pixel_from_value(bin.from as f64),
            x.pixel_from_value(bin.to as f64),
        );
        let height = (bottom - y.pixel_from_value(bin.num_rows as f64)).max(MIN_HEIGHT_PX);
        Bar {
            x: left,
            y: bottom - height,
            width: (right - left - 1.0).max(1.0),
            height,
            is_cut: bin.from >= cut,
        }
    };
    Some(Bars {
        x_ticks: ticks(&x, (((right - MARGIN_LEFT) / 80.0) as usize).clamp(2, 8)),
        y_ticks: ticks(&y, 4),
        bars: bins
            .iter()
            .filter(|bin| bin.num_rows > 0)
            .map(bar)
            .collect(),
        cut_x: is_near.then(|| x.pixel_from_value(cut as f64)),
        x,
        y,
    })
}

/// Counts are whole.
fn ticks(scale: &Scale, count: usize) -> Vec<Tick> {
    let values = scale.ticks(count);
    let whole = values.iter().filter(|value| value.fract() == 0.0);
    whole
        .map(|&value| (scale.pixel_from_value(value), tick_text(value, &values)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 660.0,
        height: 200.0,
    };

    fn histogram(bin_tokens: usize, counts: &[usize]) -> Histogram {
        Histogram {
            bin_tokens,
            counts: counts.to_vec(),
        }
    }

    #[test]
    fn no_row_is_no_picture() {
        assert_eq!(bars(&Histogram::default(), 512, SIZE), None);
        assert_eq!(bars(&histogram(8, &[0, 0]), 512, SIZE), None);
    }

    #[test]
    fn joined_bins_keep_every_row() {
        let counts: Vec<usize> = (0..1000).map(|index| index % 7).collect();
        let joined = bins(&histogram(4, &counts), 90);
        assert!(joined.len() <= 90, "{}", joined.len());
        let rows: usize = joined.iter().map(|bin| bin.num_rows).sum();
        assert_eq!(rows, counts.iter().sum::<usize>());
        assert!(joined.windows(2).all(|pair| pair[0].to == pair[1].from));
    }

    #[test]
    fn the_cut_stands_between_whole_and_cut_rows() {
        let drawn = bars(&histogram(16, &[5, 9, 2, 1]), 32, SIZE).unwrap();
        let cut = drawn.cut_x.unwrap();
        for bar in &drawn.bars {
            assert_eq!(bar.is_cut, bar.x >= cut - 1e-9, "{bar:?}");
        }
        assert_eq!(drawn.bars.iter().filter(|bar| bar.is_cut).count(), 2);
    }

    #[test]
    fn a_cut_far_beyond_the_longest_row_is_not_drawn() {
        let short = histogram(16, &[5, 9]);
        assert!(bars(&short, 512, SIZE).unwrap().cut_x.is_none());
        let near = bars(&short, 48, SIZE).unwrap();
        assert!(near.cut_x.is_some_and(|x| x <= SIZE.width));
    }

    #[test]
    fn one_row_among_many_is_seen() {
        let mut counts = vec![100_000; 3];
        counts.push(1);
        let drawn = bars(&histogram(8, &counts), 512, SIZE).unwrap();
        assert!(drawn.bars[3].height >= MIN_HEIGHT_PX);
        let floor = SIZE.height - MARGIN_BOTTOM;
        assert!(
            drawn
                .bars
                .iter()
                .all(|bar| bar.y >= MARGIN_TOP - 1e-9 && bar.y + bar.height <= floor + 1e-9)
        );
    }
}
