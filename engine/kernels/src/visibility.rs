//! Which tokens a token sees in attention.

use std::sync::Arc;

use burn::{
    backend::Dispatch,
    tensor::{DType, Device, Int, Tensor, TensorData},
};

use crate::operand::Sight;

/// Which tokens a token sees besides itself, all of them before it: those of its row, of its segment of the row, or on
/// its path through a tree, and of these the last ones if there is a window.
///
/// ```text
/// causal       segments of 2 and 2   a tree with the positions 0 1 2 1 2   a window of 2
/// 0  x          x                     x                                     x
/// 1  x x        x x                   x x                                   x x
/// 2  x x x          x                 x x x                                   x x
/// 3  x x x x        x x               x     x                                   x x
/// 4                                   x     x x
/// ```
#[derive(Debug, Clone, Default)]
pub struct Visibility {
    reach: Reach,
    window: Option<usize>,
}

/// What a token sees without a window. The tables are those of [`Sight`], `[t, 2]`.
#[derive(Debug, Clone, Default)]
enum Reach {
    #[default]
    Row,
    Segment(Tensor<2, Int>),
    Path {
        table: Tensor<2, Int>,
        positions: Arc<[usize]>,
    },
}

impl Visibility {
    /// A token sees every token before it.
    pub fn causal() -> Self {
        Self::default()
    }

    /// A token sees those before it in its segment: the only row of a batch consists of adjacent segments of these
    /// lengths, none of them empty.
    pub fn segments(lengths: &[usize], device: &Device) -> Self {
        let mut rows: Vec<[usize; 2]> = Vec::new();
        for &len in lengths {
            let start = rows.len();
            rows.extend(std::iter::repeat_n([start, start + len], len));
        }
        Self {
            reach: Reach::Segment(table(rows, device)),
            window: None,
        }
    }

    /// A token sees those on the path from the root of its tree: the only row of a batch consists of trees, each of them
    /// in depth-first order, so that texts with the same beginning share its tokens.
    ///
    /// `positions` are the tokens' distances from their roots, as for RoPE: a token continues the nearest earlier one with
    /// a smaller position, and a token at 0 begins another tree.
    pub fn tree(positions: &[usize], device: &Device) -> Self {
        Self {
            reach: Reach::path(positions.into(), None, device),
            window: None,
        }
    }

    /// Of these, a token sees the last `window`, itself included, which it always sees; all of them without a window.
    #[must_use]
    pub fn within(self, window: Option<usize>) -> Self {
        let window = window.map(|window| window.max(1));
        match self.reach {
            Reach::Path { table, positions } => Self {
                reach: Reach::path(positions, window, &table.device()),
                window,
            },
            reach => Self { reach, window },
        }
    }

    /// As operations take it.
    pub(crate) fn sight(&self) -> Sight<Dispatch> {
        let window = self.window;
        match &self.reach {
            Reach::Row => Sight::Row { window },
            Reach::Segment(table) => Sight::Segment {
                table: table.clone().into_dispatch(),
                window,
            },
            Reach::Path { table, .. } => Sight::Path {
                table: table.clone().into_dispatch(),
            },
        }
    }
}

impl Reach {
    fn path(positions: Arc<[usize]>, window: Option<usize>, device: &Device) -> Self {
        Self::Path {
            table: table(rows_of_tree(&positions, window), device),
            positions,
        }
    }
}

/// For each token, the first one that it sees, and the first one after those that may see it.
fn rows_of_tree(positions: &[usize], window: Option<usize>) -> Vec<[usize; 2]> {
    let mut rows = vec![[0, positions.len()]; positions.len()];
    let mut path: Vec<usize> = Vec::new();
    for (token, &position) in positions.iter().enumerate() {
        for left in path.drain(position.min(path.len())..) {
            rows[left][1] = token;
        }
        path.push(token);
        let before = window.map_or(0, |window| path.len().saturating_sub(window));
        rows[token][0] = path[before];
    }
    rows
}

fn table(rows: Vec<[usize; 2]>, device: &Device) -> Tensor<2, Int> {
    let shape = [rows.len(), 2];
    let numbers: Vec<i32> = rows.as_flattened().iter().map(|&n| n as i32).collect();
    Tensor::from_data(TensorData::new(numbers, shape), (device, DType::I32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_end_where_others_begin() {
        // A root with two branches of two tokens, and a tree of one.
        let positions = [0, 1, 2, 1, 2, 0];
        let rows = rows_of_tree(&positions, None);
        assert_eq!(rows, [[0, 5], [0, 3], [0, 3], [0, 5], [0, 5], [5, 6]]);
        // The second branch's last token sees its parent, and not the root.
        let rows = rows_of_tree(&positions, Some(2));
        assert_eq!(rows, [[0, 5], [0, 3], [1, 3], [0, 5], [3, 5], [5, 6]]);
    }

    #[test]
    fn paths_alone_are_segments() {
        let device = Device::flex();
        let rows = |visibility: Visibility| -> Vec<i32> {
            let table = match visibility.reach {
                Reach::Path { table, .. } | Reach::Segment(table) => table,
                Reach::Row => panic!("no table"),
            };
            table.into_data().try_into_vec().unwrap()
        };
        let tree = Visibility::tree(&[0, 1, 2, 0, 0, 1], &device);
        let segments = Visibility::segments(&[3, 1, 2], &device);
        assert_eq!(rows(tree), rows(segments));
    }
}
