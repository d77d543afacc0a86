//! FlatBuffers, in which Arrow writes what its messages hold: tables of fields by number, each checked against the bytes.

/// A table in a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Table<'b> {
    /// The table that a buffer is about.
    pub(super) fn root(bytes: &'b [u8]) -> Option<Self> {
        let at = u32_at(bytes, 0)? as usize;
        Self { bytes, at }.checked()
    }

    fn checked(self) -> Option<Self> {
        self.fields().map(|_| self)
    }

    /// Where its list of fields is, and how many bytes that has.
    fn fields(self) -> Option<(usize, usize)> {
        let back = i32_at(self.bytes, self.at)?;
        let start = i64::try_from(self.at).ok()?.checked_sub(back.into())?;
        let start = usize::try_from(start).ok()?;
        let len = usize::from(u16_at(self.bytes, start)?);
        (len >= 4 && start.checked_add(len)? <= self.bytes.len()).then_some((start, len))
    }

    /// Where a field's value is; `None` where the field has its default.
    fn field(self, number: usize) -> Option<usize> {
        let (start, len) = self.fields()?;
        let slot = 4 + 2 * number;
        if slot + 2 > len {
            return None;
        }
        match u16_at(self.bytes, start + slot)? {
            0 => None,
            offset => self.at.checked_add(usize::from(offset)),
        }
    }

    pub(super) fn byte(self, number: usize) -> Option<u8> {
        self.bytes.get(self.field(number)?).copied()
    }

    pub(super) fn short(self, number: usize) -> Option<i16> {
        u16_at(self.bytes, self.field(number)?).map(|number| number as i16)
    }

    pub(super) fn int(self, number: usize) -> Option<i32> {
        i32_at(self.bytes, self.field(number)?)
    }

    pub(super) fn long(self, number: usize) -> Option<i64> {
        i64_at(self.bytes, self.field(number)?)
    }

    /// What a field points to.
    fn target(self, number: usize) -> Option<usize> {
        let at = self.field(number)?;
        at.checked_add(u32_at(self.bytes, at)? as usize)
    }

    pub(super) fn table(self, number: usize) -> Option<Self> {
        let at = self.target(number)?;
        let bytes = self.bytes;
        Self { bytes, at }.checked()
    }

    pub(super) fn text(self, number: usize) -> Option<&'b str> {
        let bytes = self.vector(number, 1)?;
        str::from_utf8(bytes.bytes).ok()
    }

    /// A vector of things of that many bytes each.
    pub(super) fn vector(self, number: usize, size: usize) -> Option<Vector<'b>> {
        let at = self.target(number)?;
        let len = u32_at(self.bytes, at)? as usize;
        let start = at.checked_add(4)?;
        let end = start.checked_add(len.checked_mul(size)?)?;
        let bytes = self.bytes.get(start..end)?;
        Some(Vector {
            bytes,
            all: self.bytes,
            start,
            len,
        })
    }

    /// The tables that a vector points to.
    pub(super) fn tables(self, number: usize) -> Option<Vec<Self>> {
        let vector = self.vector(number, 4)?;
        (0..vector.len)
            .map(|index| {
                let at = 4 * index;
                let offset = u32_at(vector.bytes, at)? as usize;
                let at = (vector.start + at).checked_add(offset)?;
                Self {
                    bytes: vector.all,
                    at,
                }
                .checked()
            })
            .collect()
    }
}

/// Numbers, or structs of numbers, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vector<'b> {
    bytes: &'b [u8],
    all: &'b [u8],
    start: usize,
    pub len: usize,
}

impl Vector<'_> {
    /// The 64-bit number at that place.
    pub(super) fn long(&self, index: usize) -> Option<i64> {
        i64_at(self.bytes, index.checked_mul(8)?)
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    let end = at.checked_add(N)?;
    bytes.get(at..end)?.try_into().ok()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    array(bytes, at).map(i32::from_le_bytes)
}

pub(super) fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    array(bytes, at).map(i64::from_le_bytes)
}
