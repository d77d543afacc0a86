//! Which tokens a token sees in attention.

use burn::{
    backend::Dispatch,
    tensor::{DType, Device, Int, Tensor, TensorData},
};

use crate::operand::Sight;

/// Which tokens a token sees besides itself, all of them before it: those of its row, or of its segment of the row,
/// and of these the last ones if there is a window.
#[derive(Debug, Clone, Default)]
pub struct Visibility {
    /// For each token, the first token of its segment and the first token after it, `[t, 2]`.
    segments: Option<Tensor<2, Int>>,
    window: Option<usize>,
}

impl Visibility {
    /// A token sees every token before it.
    pub fn causal() -> Self {
        Self::default()
    }

    /// A token sees those before it in its segment: the only row of a batch consists of adjacent segments of these
    /// lengths, none of them empty.
    pub fn segments(lengths: &[usize], device: &Device) -> Self {
        let mut table: Vec<i32> = Vec::new();
        let mut start = 0;
        for &len in lengths {
            let bounds = [start, start + len].map(|bound| bound as i32);
            table.extend(std::iter::repeat_n(bounds, len).flatten());
            start += len;
        }
        let table = TensorData::new(table, [start, 2]);
        Self {
            segments: Some(Tensor::from_data(table, (device, DType::I32))),
            window: None,
        }
    }

    /// Of these, a token sees the last `window`, itself included, which it always sees; all of them without a window.
    #[must_use]
    pub fn within(self, window: Option<usize>) -> Self {
        let window = window.map(|window| window.max(1));
        Self { window, ..self }
    }

    /// As operations take it.
    pub(crate) fn sight(&self) -> Sight<Dispatch> {
        let window = self.window;
        match &self.segments {
            Some(table) => Sight::Segment {
                table: table.clone().into_dispatch(),
                window,
            },
            None => Sight::Row { window },
        }
    }
}
