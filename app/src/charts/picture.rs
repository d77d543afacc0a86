//! The content of a chart, in pixels.

use super::scale::{Scale, tick_text};
use super::series::{Point, decimate, extent};
use crate::state::format::count;

/// With more points than this, a line has no dots: they would cover it, and each is an element of the page.
const MAX_DOTS: usize = 200;

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// A thin line in the background of its smoothed form.
    Faint,
    Solid,
    /// A line with a dot at every point, as long as there are at most [`MAX_DOTS`].
    Dotted,
    /// A level across the whole chart, at the first point's height.
    Level,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its color, as a CSS class.
    pub class: &'static str,
    pub stroke: Stroke,
    pub points: Vec<Point>,
}

/// The chart's outer size in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    pub width: f64,
    pub height: f64,
}

const MARGIN_LEFT: f64 = 48.0;
const MARGIN_RIGHT: f64 = 12.0;
const MARGIN_TOP: f64 = 12.0;
const MARGIN_BOTTOM: f64 = 28.0;
/// Room above and below the lines, as a share of their height.
const HEADROOM_RATIO: f64 = 0.06;

/// A tick's pixel and its text.
pub type Tick = (f64, String);

/// Everything to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub x: Scale,
    pub y: Scale,
    pub x_ticks: Vec<Tick>,
    pub y_ticks: Vec<Tick>,
    /// The class, stroke and SVG path of each line.
    pub paths: Vec<(&'static str, Stroke, String)>,
    /// The class and center of each dot.
    pub dots: Vec<(&'static str, Point)>,
}

/// Lays out the lines; `None` if there is no point to draw.
pub fn picture(lines: &[Line], size: Size, is_log: bool) -> Option<Picture> {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let (low, high) = extent(points().map(|point| point.1), is_log)?;
    let (first, last) = extent(points().map(|point| point.0), false)?;
    let inner_right = (size.width - MARGIN_RIGHT).max(MARGIN_LEFT + 1.0);
    let inner_bottom = (size.height - MARGIN_BOTTOM).max(MARGIN_TOP + 1.0);
    // Steps are whole: before the second one, the axis has room for it.
    let steps = (first, last.max(first + 1.0));
    let x = Scale::new(steps, (MARGIN_LEFT, inner_right), false);
    let y = Scale::new(
        with_headroom((low, high), is_log),
        (inner_bottom, MARGIN_TOP),
        is_log,
    );
    let columns = (inner_right - MARGIN_LEFT) as usize;
    let paths = lines
        .iter()
        .map(|line| (line.class, line.stroke, path(line, &x, &y, columns)))
        .filter(|(_, _, path)| !path.is_empty())
        .collect();
    let dots = lines
        .iter()
        .filter(|line| line.stroke == Stroke::Dotted && line.points.len() <= MAX_DOTS)
        .flat_map(|line| line.points.iter().map(move |point| (line.class, point)))
        .filter(|(_, point)| point.1.is_finite())
        .map(|(class, point)| {
            (
                class,
                (x.pixel_from_value(point.0), y.pixel_from_value(point.1)),
            )
        })
        .collect();
    let mut x_ticks = x.ticks((columns / 80).clamp(2, 10));
    x_ticks.retain(|step| step.fract() == 0.0);
    let y_ticks = y.ticks(5);
    Some(Picture {
        x,
        y,
        x_ticks: ticks(&x, &x_ticks, |step| count(step as u64)),
        y_ticks: ticks(&y, &y_ticks, |value| tick_text(value, &y_ticks)),
        paths,
        dots,
    })
}

fn with_headroom((low, high): (f64, f64), is_log: bool) -> (f64, f64) {
    let margin = (high - low) * HEADROOM_RATIO;
    let floor = if is_log { low } else { low - margin };
    // A quantity that is never negative is not shown below 0.
    (
        if low >= 0.0 { floor.max(0.0) } else { floor },
        high + margin,
    )
}

fn ticks(scale: &Scale, values: &[f64], text: impl Fn(f64) -> String) -> Vec<Tick> {
    let tick = |&value: &f64| (scale.pixel_from_value(value), text(value));
    values.iter().map(tick).collect()
}

fn path(line: &Line, x: &Scale, y: &Scale, columns: usize) -> String {
    if line.stroke == Stroke::Level {
        let level = line.points.first().map(|point| y.pixel_from_value(point.1));
        return level
            .map(|level| format!("M{:.1},{level:.1}H{:.1}", x.range.0, x.range.1))
            .unwrap_or_default();
    }
    let finite: Vec<Point> = line
        .points
        .iter()
        .copied()
        .filter(|point| point.1.is_finite())
        .collect();
    let mut path = String::new();
    for (index, (px, py)) in decimate(&finite, columns)
        .into_iter()
        .map(|(value_x, value_y)| (x.pixel_from_value(value_x), y.pixel_from_value(value_y)))
        .enumerate()
    {
        let command = if index == 0 { 'M' } else { 'L' };
        path.push_str(&format!("{command}{px:.1},{py:.1}"));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 660.0,
        height: 240.0,
    };

    fn line(stroke: Stroke, points: Vec<Point>) -> Line {
        Line {
            class: "training",
            stroke,
            points,
        }
    }

    #[test]
    fn nothing_to_draw_is_no_picture() {
        assert_eq!(picture(&[], SIZE, false), None);
        assert_eq!(
            picture(&[line(Stroke::Solid, vec![(1.0, f64::NAN)])], SIZE, false),
            None
        );
    }

    #[test]
    fn lines_fill_the_frame_and_stay_inside() {
        let picture = picture(
            &[line(Stroke::Solid, vec![(0.0, 4.0), (100.0, 1.0)])],
            SIZE,
            false,
        )
        .unwrap();
        assert_eq!(picture.paths[0].2.matches(['M', 'L']).count(), 2);
        assert!(picture.paths[0].2.starts_with("M48.0,"));
        for (pixel, _) in &picture.y_ticks {
            assert!((12.0..=212.0).contains(pixel), "{pixel}");
        }
        assert!(
            picture.x_ticks.iter().any(|(_, text)| text == "40"),
            "{:?}",
            picture.x_ticks
        );
    }

    #[test]
    fn the_first_step_stands_at_a_whole_number() {
        for (step, texts) in [(0.0, ["0", "1"]), (150_000.0, ["150,000", "150,001"])] {
            let first = line(Stroke::Dotted, vec![(step, 2.5)]);
            let picture = picture(&[first], SIZE, false).unwrap();
            let shown: Vec<&str> = picture.x_ticks.iter().map(|tick| tick.1.as_str()).collect();
            assert_eq!(shown, texts);
        }
    }

    #[test]
    fn ten_thousand_points_make_a_short_path() {
        let points = (0..10_000).map(|i| (i as f64, (i as f64).cos())).collect();
        let picture = picture(&[line(Stroke::Solid, points)], SIZE, false).unwrap();
        assert!(picture.paths[0].2.matches('L').count() <= 1200);
    }

    #[test]
    fn many_evaluations_are_a_line_without_dots() {
        let dots = |count: usize| {
            let points = (0..count).map(|i| (i as f64, (i as f64).cos())).collect();
            let picture = picture(&[line(Stroke::Dotted, points)], SIZE, false).unwrap();
            assert!(!picture.paths[0].2.is_empty());
            picture.dots.len()
        };
        assert_eq!(dots(MAX_DOTS), MAX_DOTS);
        assert_eq!(dots(MAX_DOTS + 1), 0);
    }

    #[test]
    fn not_a_number_leaves_a_gap_in_nothing_else() {
        let lines = [line(
            Stroke::Dotted,
            vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 2.0)],
        )];
        let picture = picture(&lines, SIZE, true).unwrap();
        assert_eq!(picture.dots.len(), 2);
        assert!(!picture.paths[0].2.contains("NaN"));
    }

    #[test]
    fn a_level_crosses_the_whole_chart() {
        let lines = [
            line(Stroke::Level, vec![(0.0, 3.0)]),
            line(Stroke::Solid, vec![(0.0, 2.0), (9.0, 1.0)]),
        ];
        let picture = picture(&lines, SIZE, false).unwrap();
        assert!(
            picture.paths[0].2.ends_with("H648.0"),
            "{}",
            picture.paths[0].2
        );
    }
}
