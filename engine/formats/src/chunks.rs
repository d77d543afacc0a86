//! A list that grows without moving what it holds: a vector that doubles takes three times its size for a moment.

const CHUNK_LEN: usize = 1 << 14;

/// The list, in chunks of equal length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Copy> Chunks<T> {
    pub fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_LEN => chunk.push(item),
            _ => {
                // A short list stays small.
                let capacity = if self.chunks.is_empty() { 0 } else { CHUNK_LEN };
                let mut chunk = Vec::with_capacity(capacity);
                chunk.push(item);
                self.chunks.push(chunk);
            }
        }
    }

    pub fn len(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK_LEN + last
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<T> {
        let chunk = self.chunks.get(index / CHUNK_LEN)?;
        chunk.get(index % CHUNK_LEN).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = T> + Clone + '_ {
        self.chunks.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_there_in_its_order() {
        let mut chunks = Chunks::default();
        for number in 0..2 * CHUNK_LEN + 3 {
            assert_eq!((chunks.len(), chunks.get(number)), (number, None));
            chunks.push(number);
            assert_eq!(chunks.get(number), Some(number));
        }
        assert!(chunks.iter().eq(0..2 * CHUNK_LEN + 3));
    }
}
