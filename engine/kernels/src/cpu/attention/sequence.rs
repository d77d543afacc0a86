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
    pub list: Vec<Sequence>,
}

impl Sequences {
    /// A batch's rows.
    pub fn rows(heads: Heads) -> Self {
        let row = |row| Sequence {
            first_query: row * heads.tokens,
            tokens: heads.tokens,
            first_key: row * heads.keys(),
            keys: heads.keys(),
        };
        let list = (0..heads.batch).map(row).collect();
        Self { heads, list }
    }

    /// The segments of a packed row; see [`crate::Segments`].
    pub fn segments(heads: Heads, table: &[i32]) -> Self {
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
        Self { heads, list }
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
        let pairs = self.list.iter().map(|row| row.tokens * row.keys);
        pairs.sum::<usize>() * self.heads.query_heads * self.heads.head_dim
    }
}
