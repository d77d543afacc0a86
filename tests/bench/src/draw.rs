//! Numbers that depend only on a name; `site/shape.js` and `pytorch.py` draw the same ones.

/// Numbers in `[-1, 1)`: xorshift32, seeded with the name's FNV-1a hash.
pub fn draw(name: &str, len: usize) -> Vec<f32> {
    let mut state = Words::of(name);
    (0..len)
        .map(|_| (state.next() >> 8) as f32 / 0x80_0000 as f32 - 1.0)
        .collect()
}

/// The stream itself.
pub(crate) struct Words(u32);

impl Words {
    pub(crate) fn of(name: &str) -> Self {
        let hash = name.bytes().fold(0x811c_9dc5u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        Self(hash.max(1))
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// A matrix whose products keep the size of what they multiply: uniform with variance `1 / cols`.
pub fn matrix(name: &str, rows: usize, cols: usize) -> Vec<f32> {
    let scale = (3.0 / cols as f64).sqrt() as f32;
    let mut values = draw(name, rows * cols);
    values.iter_mut().for_each(|value| *value *= scale);
    values
}

/// Weights of a norm, near one.
pub fn norm(name: &str, len: usize) -> Vec<f32> {
    let values = draw(name, len).into_iter();
    values.map(|value| 1.0 + value * 0.125).collect()
}

/// Token ids of a vocabulary.
pub fn ids(tokens: usize, vocabulary: usize) -> Vec<u32> {
    let values = draw("ids", tokens).into_iter();
    values
        .map(|value| ((f64::from(value) * 0.5 + 0.5) * vocabulary as f64) as u32)
        .collect()
}
