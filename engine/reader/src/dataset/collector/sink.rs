//! What a collector does with each record: it becomes a row, or a message that is gathered with others.

use std::hash::{DefaultHasher, Hash, Hasher};

use protocol::{FileProblem, FileSummary, Mapping};
use serde_json::Value;

use super::{Collector, MAX_LISTED, RowPlace};
use crate::{
    DatasetError,
    gather::{Conversation, Gatherer, MessageColumns, Origin, message_columns},
    mapping::{self, Habits, RowFault},
    path::{Fields, first_name, get},
    record::{Fault, Place, Record, Sink},
    split_name::side_of_name,
};

/// The number of records that the summary shows as they are in the files, of fields per record, and of characters per
/// value.
const NUM_FIRST_RECORDS: usize = 8;
const MAX_SHOWN_FIELDS: usize = 20;
const MAX_SHOWN_CHARS: usize = 120;
/// The field for gathered messages.
const MESSAGES: &str = "messages";

impl Collector<'_> {
    /// Takes a row with one message, which is gathered with others.
    fn gather(
        &mut self,
        record: &Record<'_>,
        columns: Result<MessageColumns, RowFault>,
        (file, group): (usize, Option<u64>),
    ) {
        let origin = Origin {
            file,
            side: self
                .files
                .get(file)
                .and_then(|file| side_of_name(&file.name)),
            place: record.place,
            group,
        };
        let taken = columns.and_then(|columns| self.gatherer.add(&columns, &record.fields, origin));
        if let Err(fault) = taken {
            self.refuse_record(record, file, fault);
            self.count_row(file);
        }
    }

    fn refuse_record(&mut self, record: &Record<'_>, file: usize, fault: RowFault) {
        let RowFault { path, what, remedy } = fault;
        let place = record.place_of(first_name(&record.fields, &path).unwrap_or_default());
        self.refuse(file, place, what, remedy);
    }

    /// Turns the gathered conversations into rows.
    pub(super) fn put_together(&mut self) {
        let gatherer = std::mem::replace(&mut self.gatherer, Gatherer::new(0));
        let Some(columns) = gatherer.columns().cloned() else {
            return;
        };
        self.gathered = gatherer.summary();
        gatherer.finish(|Conversation { start, messages }| {
            match messages {
                Ok(messages) => {
                    let fields = [(MESSAGES.to_owned(), messages)];
                    let mapping = Mapping::Messages {
                        messages: MESSAGES.to_owned(),
                        system: None,
                        verdict: None,
                    };
                    match mapping::example(&fields, &mapping, Habits::default()) {
                        Ok((mapped, _)) => {
                            let at = RowPlace {
                                file: start.file,
                                place: start.place,
                                group: start.group,
                            };
                            self.keep(at, &fields, mapped, columns.mapping());
                        }
                        Err(fault) => {
                            self.refuse(start.file, start.place, fault.what, fault.remedy);
                        }
                    }
                }
                Err((at, fault)) => self.refuse(at.file, at.place, fault.what, fault.remedy),
            }
            self.count_row(start.file);
        });
    }

    /// Makes a row of a record, or says why there is none.
    pub(super) fn take(&mut self, place: Place, found: Result<Record<'_>, Fault>) {
        let file = self.present;
        let record = match found {
            Ok(record) => record,
            Err(Fault { what, remedy }) => {
                self.refuse(file, place, what, remedy);
                return self.count_row(file);
            }
        };
        let file = self.part_of(file, &record.fields);
        self.show(&record.fields);
        let group = self
            .spec
            .group_by
            .as_deref()
            .and_then(|path| group(&record.fields, path));
        if let Some(columns) = message_columns(&record.fields, &self.spec.mapping) {
            return self.gather(&record, columns, (file, group));
        }
        match mapping::example(&record.fields, &self.spec.mapping, self.habits) {
            Ok((mapped, mapping)) => {
                let at = RowPlace {
                    file,
                    place: record.place,
                    group,
                };
                self.keep(at, &record.fields, mapped, mapping);
            }
            Err(fault) => self.refuse_record(&record, file, fault),
        }
        self.count_row(file);
    }

    /// Keeps the first records as they are in the files.
    fn show(&mut self, fields: &Fields) {
        self.columns.look(fields);
        self.guess.look(fields);
        if self.first_records.len() < NUM_FIRST_RECORDS {
            let cell = |(name, value): &(String, Value)| {
                let written = match value {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let short = written.chars().take(MAX_SHOWN_CHARS).collect();
                (name.clone(), short)
            };
            let cells = fields.iter().take(MAX_SHOWN_FIELDS).map(cell);
            self.first_records.push(cells.collect());
        }
    }
}

impl Sink for Collector<'_> {
    fn file(&mut self, name: &str, format: &str, encoding: &str) {
        self.begin_waiting();
        self.present = self.files.len();
        self.files.push(FileSummary {
            name: name.to_owned(),
            format: format.to_owned(),
            encoding: encoding.to_owned(),
            num_rows: 0,
            // Known once all files are.
            split: None,
        });
    }

    fn record(&mut self, record: Record<'_>) {
        let record = self.unpacked(record);
        self.wait(record.place, Ok(record));
    }

    fn fault(&mut self, place: Place, fault: Fault) {
        self.wait(place, Err(fault));
    }

    fn refused(&mut self, file: &str, error: &DatasetError) {
        if self.refused_files.len() < MAX_LISTED {
            self.refused_files.push(FileProblem {
                file: file.to_owned(),
                what: error.to_string(),
                remedy: error.remedy(),
            });
        }
    }

    fn encoding(&mut self, encoding: &str) {
        if let Some(file) = self.files.get_mut(self.present) {
            file.encoding = encoding.to_owned();
        }
    }

    fn note(&mut self, file: &str, note: &str) {
        if self.notes.len() < MAX_LISTED {
            self.notes.push(format!("{file}: {note}"));
        }
    }

    fn progress(&mut self, done: u64) {
        self.observer.progress(done, self.file_bytes);
    }
}

/// A number for the value that keeps rows together.
fn group(fields: &Fields, path: &str) -> Option<u64> {
    let value = get(fields, path)?;
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    Some(hasher.finish())
}
