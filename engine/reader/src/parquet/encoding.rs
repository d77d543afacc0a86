//! The encodings of levels and values (parquet-format, Encodings.md). Everywhere, `None` means that the bytes are
//! damaged.

mod runs;

use parquet::basic::Type;

pub(super) use self::runs::Runs;
use self::runs::{bits, varint};
use super::pages::{Page, PageError};

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
    ///
    /// # Errors
    /// Damaged values, or more bytes.
    pub(super) fn decode(
        self,
        encoding: i64,
        bytes: &[u8],
        count: usize,
        most: usize,
    ) -> Result<Stored, PageError> {
        match encoding {
            7 if count > 0 => Ok(Stored::Values(self.front_coded(bytes, count, most)?)),
            _ => self
                .decode_plainly(encoding, bytes, count)
                .ok_or_else(PageError::values),
        }
    }

    /// Decodes values that take no more room than they are stored in.
    fn decode_plainly(self, encoding: i64, bytes: &[u8], count: usize) -> Option<Stored> {
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
    fn front_coded(self, bytes: &[u8], count: usize, most: usize) -> Result<Values, PageError> {
        let stored = || -> Option<(Vec<i64>, Values)> {
            let (shared, rest) = deltas(bytes, count)?;
            let (lengths, rest) = deltas(rest, count)?;
            Some((shared, ranges(rest, &lengths)?))
        };
        let (shared, tails) = stored().ok_or_else(PageError::values)?;
        let mut data: Vec<u8> = Vec::new();
        let (mut ranges, mut before) = (Vec::with_capacity(count), (0, 0));
        for (index, &shared) in shared.iter().enumerate() {
            let (start, end) = before;
            let shared = usize::try_from(shared).ok();
            let shared = shared.filter(|&shared| shared <= end - start);
            let (Some(shared), Some(tail)) = (shared, tails.get(index)) else {
                return Err(PageError::values());
            };
            if data.len() + shared + tail.len() > most {
                return Err(PageError::Held);
            }
            before.0 = data.len();
            data.extend_from_within(start..start + shared);
            data.extend_from_slice(tail);
            before.1 = data.len();
            ranges.push(before);
        }
        let fits =
            |&(start, end): &(usize, usize)| self.width.is_none_or(|width| end - start == width);
        if !ranges.iter().all(fits) {
            return Err(PageError::values());
        }
        Ok(Values {
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

fn zigzag(rest: &mut &[u8]) -> Option<i64> {
    let number = varint(rest)?;
    Some((number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn texts_that_take_too_much_room_are_not_called_damaged() {
        let texts = Physical::new(Type::BYTE_ARRAY, 0);
        // 0 and 3 bytes shared, 3 and 1 bytes more: "abc", "abcd".
        let shared = [0x80, 0x01, 4, 2, 0, 6, 0, 0, 0, 0];
        let lengths = [0x80, 0x01, 4, 2, 6, 3, 0, 0, 0, 0];
        let bytes = [&shared[..], &lengths[..], b"abcd"].concat();
        let decode = |most| texts.decode(7, &bytes, 2, most);
        let Ok(Stored::Values(values)) = decode(7) else {
            panic!("seven bytes are enough");
        };
        assert_eq!(values.get(0), Some(&b"abc"[..]));
        assert_eq!(values.get(1), Some(&b"abcd"[..]));
        assert_eq!(decode(6).err(), Some(PageError::Held));
        let cut = texts.decode(7, &bytes[..bytes.len() - 1], 2, 7);
        assert_eq!(cut.err(), Some(PageError::values()));
    }
}
