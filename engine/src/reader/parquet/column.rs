//! A column of a row group, a batch of records at a time.

use parquet::{
    column::reader::{ColumnReader, get_column_reader},
    data_type::{ByteArray, FixedLenByteArray, Int96},
    errors::Result,
    schema::types::ColumnDescPtr,
};
use serde_json::Value;

use super::{
    pages::Pages,
    value::{self, Meaning},
};

/// Values of a batch, nulls left out.
enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// What stands at a place of a column.
pub(super) struct Column {
    reader: ColumnReader,
    meaning: Meaning,
    max_def: i16,
    max_rep: i16,
    defs: Vec<i16>,
    reps: Vec<i16>,
    values: Values,
    num_levels: usize,
    /// The present place, and where the present record ends.
    at: usize,
    end: usize,
    value_at: usize,
    /// Where the next record's values begin.
    value_end: usize,
    /// Values that were bytes but no text.
    pub num_left_out: usize,
}

impl Column {
    pub(super) fn new(about: ColumnDescPtr, pages: Pages) -> Self {
        let reader = get_column_reader(about.clone(), Box::new(pages));
        let values = match &reader {
            ColumnReader::BoolColumnReader(_) => Values::Bool(Vec::new()),
            ColumnReader::Int32ColumnReader(_) => Values::Int32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Int64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
        };
        Self {
            reader,
            meaning: Meaning::of(&about),
            max_def: about.max_def_level(),
            max_rep: about.max_rep_level(),
            defs: Vec::new(),
            reps: Vec::new(),
            values,
            num_levels: 0,
            at: 0,
            end: 0,
            value_at: 0,
            value_end: 0,
            num_left_out: 0,
        }
    }

    /// Reads up to `most` records; how many there are.
    pub(super) fn fill(&mut self, most: usize) -> Result<usize> {
        self.defs.clear();
        self.reps.clear();
        (self.at, self.end, self.value_at, self.value_end) = (0, 0, 0, 0);
        let (defs, reps) = (Some(&mut self.defs), Some(&mut self.reps));
        macro_rules! read {
            ($reader:expr, $values:expr) => {{
                $values.clear();
                $reader.read_records(most, defs, reps, $values)
            }};
        }
        use ColumnReader as R;
        let (num_records, _, num_levels) = match (&mut self.reader, &mut self.values) {
            (R::BoolColumnReader(reader), Values::Bool(values)) => read!(reader, values),
            (R::Int32ColumnReader(reader), Values::Int32(values)) => read!(reader, values),
            (R::Int64ColumnReader(reader), Values::Int64(values)) => read!(reader, values),
            (R::Int96ColumnReader(reader), Values::Int96(values)) => read!(reader, values),
            (R::FloatColumnReader(reader), Values::Float(values)) => read!(reader, values),
            (R::DoubleColumnReader(reader), Values::Double(values)) => read!(reader, values),
            (R::ByteArrayColumnReader(reader), Values::Bytes(values)) => read!(reader, values),
            (R::FixedLenByteArrayColumnReader(reader), Values::Fixed(values)) => {
                read!(reader, values)
            }
            // They were made together.
            _ => Ok((0, 0, 0)),
        }?;
        self.num_levels = num_levels;
        Ok(num_records)
    }

    /// Moves to the next record of the batch.
    pub(super) fn begin(&mut self) {
        (self.at, self.value_at) = (self.end, self.value_end);
        self.end = (self.at + 1).min(self.num_levels);
        if self.max_rep > 0 {
            while self.end < self.num_levels && self.rep_at(self.end) > 0 {
                self.end += 1;
            }
        }
        self.value_end += match self.max_def {
            0 => self.end - self.at,
            most => {
                let defs = self.defs.get(self.at..self.end).unwrap_or_default();
                defs.iter().filter(|&&def| def == most).count()
            }
        };
    }

    fn rep_at(&self, at: usize) -> i16 {
        self.reps.get(at).copied().unwrap_or(0)
    }

    /// Definition level of the present place; below every level at the record's end.
    pub(super) fn def(&self) -> i16 {
        match (self.at < self.end, self.max_def) {
            (false, _) => -1,
            (true, 0) => 0,
            (true, _) => self.defs.get(self.at).copied().unwrap_or(-1),
        }
    }

    /// Repetition level of the present place; 0 at the record's end.
    pub(super) fn rep(&self) -> i16 {
        match self.at < self.end {
            true => self.rep_at(self.at),
            false => 0,
        }
    }

    /// Passes over a null.
    pub(super) fn pass(&mut self) {
        if self.def() == self.max_def {
            self.value_at += 1;
        }
        self.at = (self.at + 1).min(self.end);
    }

    /// Takes the present value.
    pub(super) fn take(&mut self) -> Value {
        let is_value = self.def() == self.max_def;
        let value = is_value.then(|| self.value(self.value_at)).flatten();
        self.pass();
        value.unwrap_or(Value::Null)
    }

    fn value(&mut self, index: usize) -> Option<Value> {
        let meaning = self.meaning;
        let of_bytes = |bytes: &[u8], num_left_out: &mut usize| {
            let value = meaning.of_bytes(bytes);
            *num_left_out += usize::from(value.is_none());
            value
        };
        match &self.values {
            Values::Bool(values) => values.get(index).map(|&value| Value::Bool(value)),
            Values::Int32(values) => values.get(index).map(|&value| meaning.of_int32(value)),
            Values::Int64(values) => values.get(index).map(|&value| meaning.of_int64(value)),
            Values::Int96(values) => values.get(index).map(value::of_int96),
            Values::Float(values) => values.get(index).map(|&value| value::of_f32(value)),
            Values::Double(values) => values.get(index).map(|&value| value::float(value)),
            Values::Bytes(values) => {
                of_bytes(bytes_of(values.get(index)?)?, &mut self.num_left_out)
            }
            Values::Fixed(values) => {
                of_bytes(bytes_of(values.get(index)?)?, &mut self.num_left_out)
            }
        }
    }
}

/// Values that were never set have no bytes to ask for.
fn bytes_of(value: &ByteArray) -> Option<&[u8]> {
    (*value != ByteArray::new()).then(|| value.data())
}
