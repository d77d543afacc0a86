//! A column of a row group, read value by value.

use parquet::{basic::Type, schema::types::ColumnDescriptor};
use serde_json::Value;

use super::{
    encoding::{Physical, Runs, Stored, Values, with_length},
    pages::{Page, PageError, Pages},
    value::{self, Meaning},
};

/// A value of a column.
pub(super) struct Column {
    pages: Pages,
    physical: Physical,
    meaning: Meaning,
    max_def: u32,
    max_rep: u32,
    dictionary: Option<Values>,
    /// The definition levels of the current page; `None` if the column has none.
    defs: Option<Runs>,
    reps: Option<Runs>,
    stored: Stored,
    num_levels: usize,
    /// The current position in the page.
    at: usize,
    value_at: usize,
    /// The bytes of the current page and of the dictionary.
    num_held: u64,
    num_held_by_dictionary: u64,
    /// Whether the current record has values before that position.
    is_begun: bool,
    /// The error that ended the reading.
    failure: Option<PageError>,
    /// The number of values that were bytes but not text.
    pub num_left_out: usize,
}

impl Column {
    pub(super) fn new(about: &ColumnDescriptor, pages: Pages) -> Self {
        Self {
            pages,
            physical: Physical::new(about.physical_type(), about.type_length()),
            meaning: Meaning::of(about),
            max_def: u32::try_from(about.max_def_level()).unwrap_or(0),
            max_rep: u32::try_from(about.max_rep_level()).unwrap_or(0),
            dictionary: None,
            defs: None,
            reps: None,
            stored: Stored::Indices(Runs::default()),
            num_held: 0,
            num_held_by_dictionary: 0,
            num_levels: 0,
            at: 0,
            value_at: 0,
            is_begun: false,
            failure: None,
            num_left_out: 0,
        }
    }

    /// Moves to the next record.
    pub(super) fn begin(&mut self) -> Result<(), PageError> {
        // The rest of the previous record, if it was too long.
        while !self.is_at_end() {
            self.pass();
        }
        self.is_begun = false;
        if self.at == self.num_levels {
            self.load();
        }
        self.check()?;
        match self.at == self.num_levels {
            true => Err(PageError::damaged("a column has fewer rows than it should")),
            false => Ok(()),
        }
    }

    /// Returns the error that ended the reading, if any.
    pub(super) fn check(&mut self) -> Result<(), PageError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn is_at_end(&self) -> bool {
        self.at == self.num_levels || self.is_begun && self.rep_here() == 0
    }

    fn rep_here(&self) -> u32 {
        self.reps.as_ref().and_then(Runs::current).unwrap_or(0)
    }

    fn def_here(&self) -> u32 {
        let def = self.defs.as_ref().and_then(Runs::current);
        def.unwrap_or(self.max_def)
    }

    /// The definition level at the current position; `None` at the record's end.
    pub(super) fn def(&self) -> Option<u32> {
        (!self.is_at_end()).then(|| self.def_here())
    }

    /// The repetition level at the current position; 0 at the record's end.
    pub(super) fn rep(&self) -> u32 {
        match self.is_at_end() {
            true => 0,
            false => self.rep_here(),
        }
    }

    /// Skips a value.
    pub(super) fn pass(&mut self) {
        if self.is_at_end() {
            return;
        }
        if self.def_here() == self.max_def {
            self.value_at += 1;
            if let Stored::Indices(indices) = &mut self.stored {
                indices.advance();
            }
        }
        self.at += 1;
        for levels in [&mut self.defs, &mut self.reps].into_iter().flatten() {
            levels.advance();
        }
        self.is_begun = true;
        // More items of a list may follow.
        if self.at == self.num_levels && self.max_rep > 0 {
            self.load();
        }
    }

    /// Takes the current value.
    pub(super) fn take(&mut self) -> Value {
        let is_value = self.def() == Some(self.max_def);
        let value = is_value.then(|| self.value()).flatten();
        self.pass();
        value.unwrap_or(Value::Null)
    }

    fn value(&mut self) -> Option<Value> {
        let bytes = match &self.stored {
            Stored::Values(values) => values.get(self.value_at)?,
            Stored::Indices(indices) => {
                let index = indices.current()?;
                self.dictionary.as_ref()?.get(index as usize)?
            }
        };
        let meaning = self.meaning;
        Some(match self.physical.kind {
            Type::BOOLEAN => Value::Bool(bytes == [1]),
            Type::INT32 => meaning.of_int32(i32::from_le_bytes(*bytes.first_chunk()?)),
            Type::INT64 => meaning.of_int64(i64::from_le_bytes(*bytes.first_chunk()?)),
            Type::INT96 => value::of_int96(bytes.first_chunk()?),
            Type::FLOAT => value::of_f32(f32::from_le_bytes(*bytes.first_chunk()?)),
            Type::DOUBLE => value::float(f64::from_le_bytes(*bytes.first_chunk()?)),
            Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => {
                let value = meaning.of_bytes(bytes);
                self.num_left_out += usize::from(value.is_none());
                value?
            }
        })
    }

    /// Continues with the next page of values, if there is one.
    fn load(&mut self) {
        (self.at, self.value_at, self.num_levels) = (0, 0, 0);
        if self.failure.is_some() {
            return;
        }
        if let Err(failure) = self.try_load() {
            self.failure = Some(failure);
        }
    }

    fn try_load(&mut self) -> Result<(), PageError> {
        // The last page is done with.
        (self.defs, self.reps) = (None, None);
        self.stored = Stored::Indices(Runs::default());
        self.pages.release(std::mem::take(&mut self.num_held));
        while let Some(page) = self.pages.next()? {
            let needed = self.physical.num_bytes(&page);
            self.pages.hold(needed)?;
            if page.is_dictionary {
                let before = std::mem::replace(&mut self.num_held_by_dictionary, needed);
                self.pages.release(before);
                let values = self.physical.plain(&page.bytes, page.num_values);
                self.dictionary = Some(values.ok_or_else(PageError::values)?);
            } else {
                self.num_held = needed;
                if page.num_values > 0 {
                    self.num_levels = self.decode(&page)?;
                    // Texts that are written by what they share with the one before.
                    let num_bytes = self.stored.num_bytes();
                    let more = num_bytes.saturating_sub(page.bytes.len() as u64);
                    self.pages.hold(more)?;
                    self.num_held += more;
                    return Ok(());
                }
                self.pages.release(std::mem::take(&mut self.num_held));
            }
        }
        Ok(())
    }

    /// Decodes the levels and values of a page; returns the number of levels.
    fn decode(&mut self, page: &Page) -> Result<usize, PageError> {
        let count = page.num_values;
        let rest = self.levels(page).ok_or_else(PageError::values)?;
        let num_values = match &self.defs {
            None => count,
            Some(defs) if defs.largest == self.max_def => defs.num_largest,
            Some(_) => 0,
        };
        let physical = self.physical;
        self.stored = physical.decode(page.encoding, rest, num_values, page.most_bytes)?;
        if let Stored::Indices(indices) = &self.stored {
            let len = self.dictionary.as_ref().map_or(0, Values::len);
            if num_values > 0 && indices.largest as usize >= len {
                return Err(PageError::values());
            }
        }
        Ok(count)
    }

    /// Decodes the levels of a page; returns the values after them.
    fn levels<'a>(&mut self, page: &'a Page) -> Option<&'a [u8]> {
        let count = page.num_values;
        let mut rest = page.bytes.as_slice();
        for (most, levels, of_version_2) in [
            (self.max_rep, &mut self.reps, page.rep_bytes),
            (self.max_def, &mut self.defs, page.def_bytes),
        ] {
            let bytes;
            (bytes, rest) = match of_version_2 {
                Some(len) => rest.split_at_checked(len)?,
                None if most == 0 => (&[][..], rest),
                None => with_length(rest)?,
            };
            let width = most.checked_ilog2().map_or(0, |log| log as usize + 1);
            *levels = match most {
                0 => None,
                most => Some(Runs::new(bytes, width, count)?).filter(|runs| runs.largest <= most),
            };
            if most > 0 && levels.is_none() {
                return None;
            }
        }
        Some(rest)
    }
}
