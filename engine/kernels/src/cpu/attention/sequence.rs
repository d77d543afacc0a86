//! Where the sequences of a batch are: rows of equal length, or adjacent packed ones.

use crate::Heads;

/// A sequence among all queries and all keys.
#[derive(Clone, Copy)]
pub struct Sequence {
    pub first_query: usize,
    pub tokens: usize,
    pub first_key: usize,
    pub keys: usize,
}

/// The sequences of a batch, one after the other.
pub struct Sequences {
    pub heads: Heads,
    /// How many keys a query sees at most; its own is the last.
    pub window: usize,
    pub list: Vec<Sequence>,
}

impl Sequences {
    /// A batch's rows.
    pub fn rows(heads: Heads, window: Option<usize>) -> Self {
        let row = |row| Sequence {
            first_query: row * heads.tokens,
            tokens: heads.tokens,
            first_key: row * heads.keys(),
            keys: heads.keys(),
        };
        let list = (0..heads.batch).map(row).collect();
        Self::new(heads, window, list)
    }

    /// The segments of a packed row; see [`crate::operand::Sight`].
    pub fn segments(heads: Heads, window: Option<usize>, table: &[i32]) -> Self {
        let (mut list, mut start) = (Vec::new(), 0);
        while start < heads.tokens {
            // Our tables end every segment after its beginning and within the row.
            let end = (table[2 * start + 1] as usize).clamp(start + 1, heads.tokens);
            list.push(Sequence {
                first_query: start,
                tokens: end - start,
                first_key: start,
                keys: end - start,
            });
            start = end;
        }
        Self::new(heads, window, list)
    }

    fn new(heads: Heads, window: Option<usize>, list: Vec<Sequence>) -> Self {
        let window = window.unwrap_or(usize::MAX);
        Self {
            heads,
            window,
            list,
        }
    }

    /// The first key of its sequence that the query with this position sees.
    pub fn first_visible(&self, position: usize) -> usize {
        (position + 1).saturating_sub(self.window)
    }

    /// Queries of all sequences.
    pub fn num_queries(&self) -> usize {
        self.heads.batch * self.heads.tokens
    }

    /// Keys of all sequences.
    pub fn num_keys(&self) -> usize {
        self.heads.batch * self.heads.keys()
    }

    /// About how many multiplications a forward takes.
    pub fn work(&self) -> usize {
        let pairs = self
            .list
            .iter()
            .map(|row| row.tokens * row.keys.min(self.window));
        pairs.sum::<usize>() * self.heads.query_heads * self.heads.head_dim
    }
}
