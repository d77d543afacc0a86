//! Thrift's compact protocol, as far as Parquet's headers need it.

/// How deeply structs and lists may be nested.
const MAX_DEPTH: usize = 32;
/// Kinds of fields.
pub(super) const TRUE: u8 = 1;
pub(super) const STRUCT: u8 = 12;

/// The remaining bytes. Everywhere, `None` means that they are damaged.
pub(super) struct Thrift<'a> {
    rest: &'a [u8],
}

impl<'a> Thrift<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn num_left(&self) -> usize {
        self.rest.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn int(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn pass(&mut self, len: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(len).ok()?..)?;
        Some(())
    }

    /// The number and kind of a struct's next field, where `last` is the previous number; `Some(None)` at its end.
    #[allow(clippy::option_option, reason = "damaged bytes differ from the end")]
    pub(super) fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.int()?,
            further => last.checked_add(i64::from(further))?,
        };
        Some(Some((*last, head & 0x0F)))
    }

    /// Skips a struct, and checks that its lists can be as long as they claim.
    pub(super) fn pass_struct(&mut self) -> Option<()> {
        self.pass_value(STRUCT, 0)
    }

    /// Skips the value of a field.
    pub(super) fn pass_field(&mut self, kind: u8) -> Option<()> {
        // As fields, booleans are given by their kind alone.
        match kind {
            1 | 2 => Some(()),
            kind => self.pass_value(kind, 0),
        }
    }

    fn pass_value(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            1..=3 => self.pass(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let len = self.varint()?;
                self.pass(len)
            }
            9 | 10 => {
                let head = self.byte()?;
                let len = match head >> 4 {
                    15 => self.varint()?,
                    len => u64::from(len),
                };
                self.pass_values(len, &[head & 0x0F], depth)
            }
            11 => match self.varint()? {
                0 => Some(()),
                len => {
                    let kinds = self.byte()?;
                    self.pass_values(len, &[kinds >> 4, kinds & 0x0F], depth)
                }
            },
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    if kind > 2 {
                        self.pass_value(kind, depth + 1)?;
                    }
                }
                Some(())
            }
            _ => None,
        }
    }

    fn pass_values(&mut self, len: u64, kinds: &[u8], depth: usize) -> Option<()> {
        // Each takes at least one byte.
        if len > self.rest.len() as u64 {
            return None;
        }
        for _ in 0..len {
            for &kind in kinds {
                self.pass_value(kind, depth + 1)?;
            }
        }
        Some(())
    }
}
