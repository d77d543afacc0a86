//! Reduces long series to few pixels.

/// `x` and `y`; a series ascends in `x`.
pub type Point = (f64, f64);

/// The smallest and largest of the finite values; only of those above 0 if `is_log`.
pub fn extent(values: impl Iterator<Item = f64>, is_log: bool) -> Option<(f64, f64)> {
    values
        .filter(|value| value.is_finite() && (!is_log || *value > 0.0))
        .fold(None, |extent, value| match extent {
            None => Some((value, value)),
            Some((low, high)) => Some((low.min(value), high.max(value))),
        })
}

/// An exponential running mean: each point keeps `weight` (0 to 1) of the past, without a bias towards 0 at the start.
pub fn smooth(points: &[Point], weight: f64) -> Vec<Point> {
    let (mut mean, mut total) = (0.0, 0.0);
    points
        .iter()
        .filter(|(_, y)| y.is_finite())
        .map(|&(x, y)| {
            mean = weight * mean + (1.0 - weight) * y;
            total = weight * total + (1.0 - weight);
            (x, mean / total)
        })
        .collect()
}

/// At most two points per column: the lowest and the highest, in order, so that no peak is lost.
pub fn decimate(points: &[Point], columns: usize) -> Vec<Point> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    if columns == 0 || points.len() <= 2 * columns {
        return points.to_vec();
    }
    let width = (last.0 - first.0) / columns as f64;
    let column_of = |x: f64| (((x - first.0) / width) as usize).min(columns - 1);
    let mut kept = Vec::with_capacity(2 * columns);
    for column in points.chunk_by(|a, b| column_of(a.0) == column_of(b.0)) {
        let by_height = |a: &(usize, &Point), b: &(usize, &Point)| a.1.1.total_cmp(&b.1.1);
        let low = column.iter().enumerate().min_by(by_height);
        let high = column.iter().enumerate().max_by(by_height);
        if let (Some((low, _)), Some((high, _))) = (low, high) {
            kept.push(column[low.min(high)]);
            if low != high {
                kept.push(column[low.max(high)]);
            }
        }
    }
    kept
}

/// The index of the place closest to `x`; places ascend.
pub fn nearest(places: &[f64], x: f64) -> Option<usize> {
    let after = places.partition_point(|place| *place < x);
    let candidates = [
        after.checked_sub(1),
        (after < places.len()).then_some(after),
    ];
    candidates
        .into_iter()
        .flatten()
        .min_by(|&a, &b| (places[a] - x).abs().total_cmp(&(places[b] - x).abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_points_become_two_a_column_and_keep_their_peaks() {
        let mut points: Vec<Point> = (0..10_000)
            .map(|i| (i as f64, (i as f64 * 0.01).sin()))
            .collect();
        points[5_432].1 = 9.0;
        points[7_001].1 = -9.0;
        let kept = decimate(&points, 600);
        assert!(kept.len() <= 1200, "{}", kept.len());
        assert!(kept.contains(&(5_432.0, 9.0)) && kept.contains(&(7_001.0, -9.0)));
        assert!(
            kept.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "x ascends"
        );
    }

    #[test]
    fn short_series_stay_as_they_are() {
        let points = [(1.0, 2.0), (2.0, 1.0)];
        assert_eq!(decimate(&points, 100), points);
        assert!(decimate(&[], 100).is_empty());
    }

    #[test]
    fn smoothing_keeps_a_constant_and_starts_unbiased() {
        let flat: Vec<Point> = (0..50).map(|i| (i as f64, 3.0)).collect();
        assert!(
            smooth(&flat, 0.9)
                .iter()
                .all(|point| (point.1 - 3.0).abs() < 1e-12)
        );
        let steps = smooth(&[(0.0, 1.0), (1.0, 0.0)], 0.5);
        assert!((steps[1].1 - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn nearest_finds_the_closer_neighbour() {
        let places = [1.0, 2.0, 10.0];
        for (x, index) in [(-5.0, 0), (1.4, 0), (1.6, 1), (5.9, 1), (6.1, 2), (99.0, 2)] {
            assert_eq!(nearest(&places, x), Some(index), "{x}");
        }
        assert_eq!(nearest(&[], 1.0), None);
    }

    #[test]
    fn the_extent_leaves_out_what_cannot_be_drawn() {
        let values = [f64::NAN, 0.0, 2.0, f64::INFINITY, -1.0];
        assert_eq!(extent(values.into_iter(), false), Some((-1.0, 2.0)));
        assert_eq!(extent(values.into_iter(), true), Some((2.0, 2.0)));
        assert_eq!(extent(std::iter::empty(), false), None);
    }
}
