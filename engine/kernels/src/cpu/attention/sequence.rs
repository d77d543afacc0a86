//! Where the sequences of a batch are: rows of equal length, or adjacent packed ones.

use crate::{Heads, operand::HIDDEN};

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
    /// The rows of [`crate::operand::Sight`]'s table, if the sequences are trees; otherwise nothing.
    pub tree: Vec<[i32; 2]>,
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

    /// The segments or trees of a packed row; see [`crate::operand::Sight`].
    pub fn segments(heads: Heads, window: Option<usize>, table: &[[i32; 2]]) -> Self {
        let (mut list, mut start) = (Vec::new(), 0);
        while start < heads.tokens {
            // Our tables end every segment, and the subtree of every root, after its beginning and within the row.
            let end = (table[start][1] as usize).clamp(start + 1, heads.tokens);
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

    /// The sequences are trees, of which a query sees the keys on its path.
    pub fn along_paths(self, table: &[[i32; 2]]) -> Self {
        let tree = table.to_vec();
        Self { tree, ..self }
    }

    fn new(heads: Heads, window: Option<usize>, list: Vec<Sequence>) -> Self {
        let window = window.unwrap_or(usize::MAX);
        Self {
            heads,
            window,
            tree: Vec::new(),
            list,
        }
    }

    /// The first key of a sequence that the query at a place among its keys sees.
    pub fn first_visible(&self, sequence: Sequence, query: usize) -> usize {
        let in_tree = self.tree.get(sequence.first_key + query);
        match in_tree {
            Some(&[first, _]) => first as usize - sequence.first_key,
            None => (query + 1).saturating_sub(self.window),
        }
    }

    /// Hides the scores of a query, which begin at the key `first`, of keys on other branches of its tree.
    pub fn hide_branches(
        &self,
        sequence: Sequence,
        query: usize,
        first: usize,
        scores: &mut [f32],
    ) {
        let query = sequence.first_key + query;
        let rows = self.tree.get(sequence.first_key + first..);
        for (score, &[_, end]) in scores.iter_mut().zip(rows.unwrap_or_default()) {
            if end as usize <= query {
                *score = HIDDEN;
            }
        }
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
