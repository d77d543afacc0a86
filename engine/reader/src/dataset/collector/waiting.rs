//! The first records of a file, which wait until enough of them are there to tell how the file is written.

use serde_json::Value;

use super::Collector;
use crate::{
    record::{Fault, Place, Record},
    survey::Survey,
};

/// Records that wait at most, and bytes of them, about.
const MAX_RECORDS: usize = 64;
const MAX_BYTES: usize = 2 << 20;

/// Records of the present file that wait.
#[derive(Default)]
pub(super) struct Waiting {
    records: Vec<(Place, Result<Written, Fault>)>,
    num_bytes: usize,
    /// Whether enough have come, so that others need not wait.
    is_over: bool,
}

/// A record with the text that it was written as.
struct Written {
    fields: Vec<(String, Value)>,
    text: Option<String>,
}

impl Collector<'_> {
    /// A file begins, whose first records wait.
    pub(super) fn begin_waiting(&mut self) {
        self.end_waiting();
        self.waiting = Waiting::default();
    }

    /// Takes a record or what is wrong with it, now or once enough others are there.
    pub(super) fn wait(&mut self, place: Place, found: Result<Record<'_>, Fault>) {
        if self.waiting.is_over {
            return self.take(place, found);
        }
        let num_bytes = found.as_ref().map_or(0, |record| {
            let text = record.text.map_or(0, str::len);
            let fields = record.fields.iter().map(|(_, value)| bytes_of(value));
            text + fields.sum::<usize>()
        });
        // A record that is large by itself is not kept twice.
        if num_bytes >= MAX_BYTES {
            self.end_waiting();
            return self.take(place, found);
        }
        let found = found.map(|record| Written {
            text: record.text.map(str::to_owned),
            fields: record.fields,
        });
        self.waiting.num_bytes += num_bytes;
        self.waiting.records.push((place, found));
        if self.waiting.records.len() >= MAX_RECORDS || self.waiting.num_bytes >= MAX_BYTES {
            self.end_waiting();
        }
    }

    /// Takes the records that waited.
    pub(super) fn end_waiting(&mut self) {
        let records = std::mem::take(&mut self.waiting.records);
        self.waiting.is_over = true;
        let mut survey = Survey::default();
        for record in records.iter().filter_map(|(_, found)| found.as_ref().ok()) {
            survey.look(&record.fields, &self.spec.mapping);
        }
        self.habits = survey.habits();
        for (place, found) in records {
            match found {
                Ok(Written { fields, text }) => {
                    let text = text.as_deref();
                    let record = Record {
                        place,
                        fields,
                        text,
                    };
                    self.take(place, Ok(record));
                }
                Err(fault) => self.take(place, Err(fault)),
            }
        }
    }
}

/// The bytes that a value takes in memory, about.
fn bytes_of(value: &Value) -> usize {
    const OWN: usize = 64;
    OWN + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(bytes_of).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| OWN + name.len() + bytes_of(value))
            .sum(),
        _ => 0,
    }
}
