//! Runs of equal numbers and packs of numbers of a few bits, as Parquet writes levels and indices.

/// Runs of equal numbers and packs of numbers, taken one by one: a few bytes may say that millions are equal.
#[derive(Debug, Clone, Default)]
pub(in crate::parquet) struct Runs {
    pub(super) bytes: Vec<u8>,
    width: usize,
    /// Where the next run begins.
    next: usize,
    run: Run,
    /// The numbers left in the run, and in all, the present one included.
    left_in_run: usize,
    left: usize,
    /// The largest of all, and how many times it comes.
    pub largest: u32,
    pub num_largest: usize,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    Equal(u32),
    /// The bit at which the present number begins.
    Packed(usize),
}

impl Default for Run {
    fn default() -> Self {
        Self::Equal(0)
    }
}

impl Runs {
    /// `count` numbers of `width` bits; `None` if there are fewer.
    pub(in crate::parquet) fn new(bytes: &[u8], width: usize, count: usize) -> Option<Self> {
        if width > 32 {
            return None;
        }
        let mut runs = Self {
            bytes: bytes.to_vec(),
            width,
            left: count,
            ..Self::default()
        };
        if count > 0 {
            runs.begin()?;
        }
        // All of them are there before the first is taken.
        let first = (runs.next, runs.run, runs.left_in_run);
        runs.survey()?;
        (runs.next, runs.run, runs.left_in_run) = first;
        runs.left = count;
        Some(runs)
    }

    /// Begins the next run that has numbers.
    fn begin(&mut self) -> Option<()> {
        self.left_in_run = 0;
        while self.left_in_run == 0 {
            let mut rest = self.bytes.get(self.next..)?;
            let head = varint(&mut rest)?;
            let len = usize::try_from(head >> 1).ok()?;
            let start = self.bytes.len() - rest.len();
            let num_bytes = if head & 1 == 0 {
                let num_bytes = self.width.div_ceil(8);
                self.run = Run::Equal(bits(rest.get(..num_bytes)?, 0, self.width) as u32);
                self.left_in_run = len.min(self.left);
                num_bytes
            } else {
                self.run = Run::Packed(8 * start);
                self.left_in_run = len.saturating_mul(8).min(self.left);
                // The last pack may be cut off where its numbers end.
                if rest.len() * 8 < self.left_in_run * self.width {
                    return None;
                }
                len.checked_mul(self.width)?.min(rest.len())
            };
            self.next = start + num_bytes;
        }
        Some(())
    }

    /// The present number; `None` at the end.
    pub(in crate::parquet) fn current(&self) -> Option<u32> {
        match self.run {
            _ if self.left == 0 => None,
            Run::Equal(number) => Some(number),
            Run::Packed(at) => Some(bits(&self.bytes, at, self.width) as u32),
        }
    }

    pub(in crate::parquet) fn advance(&mut self) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.left_in_run -= 1;
        if let Run::Packed(at) = &mut self.run {
            *at += self.width;
        }
        if self.left_in_run == 0 && self.left > 0 && self.begin().is_none() {
            self.left = 0;
        }
    }

    /// Goes through all of them for the largest, and how many times it comes.
    fn survey(&mut self) -> Option<()> {
        while let Some(number) = self.current() {
            let times = match self.run {
                Run::Equal(_) => self.left_in_run,
                Run::Packed(_) => 1,
            };
            if number > self.largest {
                (self.largest, self.num_largest) = (number, 0);
            }
            self.num_largest += if number == self.largest { times } else { 0 };
            if let Run::Packed(at) = &mut self.run {
                *at += self.width;
            }
            self.left -= times;
            self.left_in_run -= times;
            if self.left_in_run == 0 && self.left > 0 {
                self.begin()?;
            }
        }
        Some(())
    }
}

/// `width` bits from the bit `start` on, least significant first.
pub(super) fn bits(bytes: &[u8], start: usize, width: usize) -> u64 {
    let mut number = 0u128;
    let last = (start + width).div_ceil(8);
    for (index, &byte) in bytes
        .get(start / 8..last)
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        number |= u128::from(byte) << (8 * index);
    }
    (number >> (start % 8)) as u64 & u64::MAX.checked_shr(64 - width as u32).unwrap_or(0)
}

pub(super) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packs_are_told_apart() {
        // The example of Encodings.md: 0 to 7 in three bits; before it four times 5.
        let bytes = [8, 5, 3, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let expected = [5, 5, 5, 5, 0, 1, 2, 3, 4, 5, 6, 7];
        let numbers = |bytes: &[u8], width, count| -> Option<Vec<u32>> {
            let mut runs = Runs::new(bytes, width, count)?;
            let take = || {
                let number = runs.current();
                runs.advance();
                number
            };
            Some(std::iter::from_fn(take).collect())
        };
        assert_eq!(numbers(&bytes, 3, 12).unwrap(), expected);
        assert_eq!(numbers(&bytes, 3, 13), None);
        assert_eq!(numbers(&bytes, 3, 2).unwrap(), [5, 5]);
        assert_eq!(numbers(&[6], 0, 3).unwrap(), [0, 0, 0]);
        assert_eq!(numbers(&[0, 0, 0, 6], 0, 3).unwrap(), [0, 0, 0]);
        assert_eq!(numbers(&[6], 33, 3), None);
        assert!(numbers(&[], 3, 0).unwrap().is_empty());
        let runs = Runs::new(&bytes, 3, 12).unwrap();
        assert_eq!((runs.largest, runs.num_largest), (7, 1));
        let runs = Runs::new(&bytes, 3, 4).unwrap();
        assert_eq!((runs.largest, runs.num_largest), (5, 4));
    }
}
