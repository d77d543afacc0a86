//! The encodings of levels and values (parquet-format, Encodings.md). Everywhere, `None` means that the bytes are
//! damaged.

use parquet::basic::Type;

use super::pages::Page;

/// Consecutive values as bytes: numbers are little-endian, booleans 0 or 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Values {
    data: Vec<u8>,
    layout: Layout,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Layout {
    /// The number of bytes of each.
    Fixed(usize),
    /// Where each begins and ends.
    Ranges(Vec<(usize, usize)>),
}

impl Values {
    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let (start, end) = match &self.layout {
            Layout::Fixed(width) => (index.checked_mul(*width)?, (index + 1).checked_mul(*width)?),
            Layout::Ranges(ranges) => *ranges.get(index)?,
        };
        self.data.get(start..end)
    }

    pub(super) fn len(&self) -> usize {
        match &self.layout {
            Layout::Fixed(width) => self.data.len() / (*width).max(1),
            Layout::Ranges(ranges) => ranges.len(),
        }
    }

    fn of_numbers(numbers: &[i64], width: usize) -> Self {
        let bytes = numbers.iter().flat_map(|number| {
            let bytes = number.to_le_bytes();
            bytes.into_iter().take(width)
        });
        Self {
            data: bytes.collect(),
            layout: Layout::Fixed(width),
        }
    }
}

/// The values of a page.
pub(super) enum Stored {
    Values(Values),
    /// Indices into the dictionary.
    Indices(Runs),
}

impl Stored {
    /// The bytes of the values themselves.
    pub(super) fn num_bytes(&self) -> u64 {
        match self {
            Self::Values(values) => values.data.len() as u64,
            Self::Indices(indices) => indices.bytes.len() as u64,
        }
    }
}

/// The physical type of a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Physical {
    pub kind: Type,
    /// The number of bytes of a value; `None` if it varies.
    pub width: Option<usize>,
}

impl Physical {
    pub(super) fn new(kind: Type, type_length: i32) -> Self {
        let width = match kind {
            Type::BOOLEAN => Some(1),
            Type::INT32 | Type::FLOAT => Some(4),
            Type::INT64 | Type::DOUBLE => Some(8),
            Type::INT96 => Some(12),
            Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(type_length).ok().or(Some(0)),
            Type::BYTE_ARRAY => None,
        };
        Self { kind, width }
    }

    /// The bytes that a page takes while it is decoded and read, as it is and decoded.
    pub(super) fn num_bytes(self, page: &Page) -> u64 {
        let per_value = match (page.encoding, self.width) {
            // Numbers, and where each text begins and ends.
            (5..=7, _) => 40,
            (_, None) => size_of::<(usize, usize)>(),
            _ if self.kind == Type::BOOLEAN => 1,
            _ => 0,
        };
        let is_indices = matches!(page.encoding, 2 | 8) && !page.is_dictionary;
        let num_values = if is_indices { 0 } else { page.num_values };
        2 * page.bytes.len() as u64 + (num_values * per_value) as u64
    }

    /// Decodes `count` values of a page into at most `most` bytes.
    pub(super) fn decode(
        self,
        encoding: i64,
        bytes: &[u8],
        count: usize,
        most: usize,
    ) -> Option<Stored> {
        let values = match (encoding, self.width) {
            _ if count == 0 => Values {
                data: Vec::new(),
                layout: Layout::Ranges(Vec::new()),
            },
            (0, _) => self.plain(bytes, count)?,
            (2 | 8, _) => {
                let (&width, rest) = bytes.split_first()?;
                return Some(Stored::Indices(Runs::new(rest, width.into(), count)?));
            }
            (3, _) if self.kind == Type::BOOLEAN => {
                let mut bits = Runs::new(with_length(bytes)?.0, 1, count)?;
                let mut data = Vec::with_capacity(count);
                while let Some(bit) = bits.current() {
                    data.push(bit as u8);
                    bits.advance();
                }
                Values {
                    data,
                    layout: Layout::Fixed(1),
                }
            }
            (5, Some(width)) if matches!(self.kind, Type::INT32 | Type::INT64) => {
                Values::of_numbers(&deltas(bytes, count)?.0, width)
            }
            (6, None) => {
                let (lengths, rest) = deltas(bytes, count)?;
                ranges(rest, &lengths)?
            }
            (7, _) => self.front_coded(bytes, count, most)?,
            (9, Some(width)) if self.kind != Type::BOOLEAN => split(bytes, width, count)?,
            _ => return None,
        };
        Some(Stored::Values(values))
    }

    /// Values without encoding.
    pub(super) fn plain(self, bytes: &[u8], count: usize) -> Option<Values> {
        match (self.kind, self.width) {
            (Type::BOOLEAN, _) => {
                let bits = (0..count).map(|index| Some(bytes.get(index / 8)? >> (index % 8) & 1));
                Some(Values {
                    data: bits.collect::<Option<_>>()?,
                    layout: Layout::Fixed(1),
                })
            }
            (_, Some(width)) => Some(Values {
                data: bytes.get(..count.checked_mul(width)?)?.to_vec(),
                layout: Layout::Fixed(width),
            }),
            (_, None) => {
                let mut ranges = Vec::with_capacity(count.min(bytes.len() / 4));
                let mut start = 0usize;
                for _ in 0..count {
                    let len = u32::from_le_bytes(*bytes.get(start..)?.first_chunk()?);
                    let begin = start + 4;
                    start = begin.checked_add(len as usize)?;
                    if start > bytes.len() {
                        return None;
                    }
                    ranges.push((begin, start));
                }
                Some(Values {
                    data: bytes.to_vec(),
                    layout: Layout::Ranges(ranges),
                })
            }
        }
    }

    /// Values stored as the length of the prefix shared with the previous one, and the rest.
    fn front_coded(self, bytes: &[u8], count: usize, most: usize) -> Option<Values> {
        let (shared, rest) = deltas(bytes, count)?;
        let (lengths, rest) = deltas(rest, count)?;
        let tails = ranges(rest, &lengths)?;
        let mut data: Vec<u8> = Vec::new();
        let (mut ranges, mut before) = (Vec::with_capacity(count), (0, 0));
        for (index, &shared) in shared.iter().enumerate() {
            let shared = usize::try_from(shared).ok()?;
            let (start, end) = before;
            let tail = tails.get(index)?;
            if shared > end - start || data.len() + shared + tail.len() > most {
                return None;
            }
            before.0 = data.len();
            data.extend_from_within(start..start + shared);
            data.extend_from_slice(tail);
            before.1 = data.len();
            ranges.push(before);
        }
        let fits =
            |&(start, end): &(usize, usize)| self.width.is_none_or(|width| end - start == width);
        ranges.iter().all(fits).then_some(Values {
            data,
            layout: Layout::Ranges(ranges),
        })
    }
}

/// The ranges of values with these lengths.
fn ranges(bytes: &[u8], lengths: &[i64]) -> Option<Values> {
    let mut ranges = Vec::with_capacity(lengths.len());
    let mut start = 0usize;
    for &len in lengths {
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        if end > bytes.len() {
            return None;
        }
        ranges.push((start, end));
        start = end;
    }
    Some(Values {
        data: bytes.to_vec(),
        layout: Layout::Ranges(ranges),
    })
}

/// Values stored as the first bytes of all values, then the second ones, and so on.
fn split(bytes: &[u8], width: usize, count: usize) -> Option<Values> {
    let bytes = bytes.get(..count.checked_mul(width)?)?;
    let places = (0..count).flat_map(|index| (0..width).map(move |part| part * count + index));
    Some(Values {
        data: places.map(|place| bytes[place]).collect(),
        layout: Layout::Fixed(width),
    })
}

/// The bytes after a four-byte length, and the rest after them.
pub(super) fn with_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// Runs of equal numbers and packs of numbers, taken one by one: a few bytes may say that millions are equal.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs {
    bytes: Vec<u8>,
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
    pub(super) fn new(bytes: &[u8], width: usize, count: usize) -> Option<Self> {
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
    pub(super) fn current(&self) -> Option<u32> {
        match self.run {
            _ if self.left == 0 => None,
            Run::Equal(number) => Some(number),
            Run::Packed(at) => Some(bits(&self.bytes, at, self.width) as u32),
        }
    }

    pub(super) fn advance(&mut self) {
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

/// Decodes numbers stored as differences in blocks; returns the rest after them.
fn deltas(bytes: &[u8], count: usize) -> Option<(Vec<i64>, &[u8])> {
    let mut rest = bytes;
    let block_len = usize::try_from(varint(&mut rest)?).ok()?;
    let num_packs = usize::try_from(varint(&mut rest)?).ok()?;
    let total = usize::try_from(varint(&mut rest)?).ok()?;
    let mut number = zigzag(&mut rest)?;
    let pack_len = block_len.checked_div(num_packs)?;
    if total != count || pack_len == 0 || pack_len % 8 != 0 || num_packs > bytes.len() {
        return None;
    }
    let mut numbers = Vec::with_capacity(count);
    numbers.push(number);
    while numbers.len() < count {
        let least = zigzag(&mut rest)?;
        let (widths, after) = rest.split_at_checked(num_packs)?;
        rest = after;
        for &width in widths {
            let left = count - numbers.len();
            if left == 0 {
                break;
            }
            let width = usize::from(width);
            if width > 64 {
                return None;
            }
            let (pack, after) = rest.split_at_checked((pack_len / 8).checked_mul(width)?)?;
            rest = after;
            for index in 0..pack_len.min(left) {
                let delta = bits(pack, index * width, width) as i64;
                number = number.wrapping_add(least).wrapping_add(delta);
                numbers.push(number);
            }
        }
    }
    Some((numbers, rest))
}

/// `width` bits from the bit `start` on, least significant first.
fn bits(bytes: &[u8], start: usize, width: usize) -> u64 {
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

fn varint(rest: &mut &[u8]) -> Option<u64> {
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

fn zigzag(rest: &mut &[u8]) -> Option<i64> {
    let number = varint(rest)?;
    Some((number >> 1) as i64 ^ -((number & 1) as i64))
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

    #[test]
    fn differences_add_up() {
        // The second example of Encodings.md, 7, 5, 3, 1, 2, 3, 4, 5 in a block of 128 with four packs.
        let mut bytes = vec![0x80, 0x01, 4, 8, 14, 3, 2, 0, 0, 0];
        bytes.extend([0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0]);
        bytes.push(99);
        let (numbers, rest) = deltas(&bytes, 8).unwrap();
        assert_eq!((numbers, rest), (vec![7, 5, 3, 1, 2, 3, 4, 5], &[99][..]));
        assert_eq!(bits(&[0xFF; 9], 7, 64), u64::MAX);
        assert_eq!(bits(&[0xFF; 9], 7, 0), 0);
    }
}
