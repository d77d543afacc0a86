//! Hands on what was read, and says how far the reading is.

use std::{
    cell::{Cell, RefCell, RefMut},
    rc::Rc,
};

use serde_json::Value;

use super::{
    error::DatasetError,
    features::Features,
    record::{Fault, Place, Record, Sink},
};

/// Bytes between two reports of progress.
const PROGRESS_BYTES: u64 = 256 << 10;

/// Rows between two of them, where many come of the same bytes.
const PROGRESS_ROWS: usize = 10_000;
const BYTES_LIKE_A_ROW: usize = 100;

/// A [`Sink`] that is told the progress as bytes are read and as records come.
pub(super) struct Output<'a> {
    progress: Rc<Progress<'a>>,
    num_silent: usize,
    /// The present file with rows, and what was done to those.
    file: String,
    /// What it says of its labels itself, and what a file next to it says.
    features: Option<Features>,
    features_aside: Option<Features>,
    cleaned: Cleaned,
}

/// How far the reading is.
struct Progress<'a> {
    sink: RefCell<&'a mut dyn Sink>,
    /// Bytes of the present file that were read so far.
    count: Rc<Cell<u64>>,
    /// Bytes of the files before it.
    before: Cell<u64>,
    /// Size of the present file.
    num_bytes: Cell<u64>,
    reported: Cell<u64>,
}

impl Progress<'_> {
    /// The number of bytes read. A file that is looked at twice counts once.
    fn done(&self) -> u64 {
        let done = self.before.get() + self.count.get().min(self.num_bytes.get());
        done.max(self.reported.get())
    }

    fn report(&self, done: u64) {
        self.reported.set(done);
        self.sink.borrow_mut().progress(done);
    }
}

/// Characters of texts that were replaced or taken out.
#[derive(Default)]
struct Cleaned {
    num_separators: usize,
    first_separator: Option<Place>,
    num_nuls: usize,
}

impl Cleaned {
    /// Makes line breaks of U+2028 and U+2029, which hardly any text is meant to have, and takes NULs out.
    fn clean(&mut self, value: &mut Value, place: Place) {
        match value {
            Value::String(text) if text.contains(['\u{2028}', '\u{2029}', '\0']) => {
                // Bytes that are NULs alone are not text.
                let is_text = text.contains(|c: char| c != '\0');
                let num_nuls = text.matches('\0').filter(|_| is_text).count();
                let num_separators = text.matches(['\u{2028}', '\u{2029}']).count();
                self.num_nuls += num_nuls;
                self.num_separators += num_separators;
                if num_separators > 0 {
                    self.first_separator.get_or_insert(place);
                }
                if is_text {
                    *text = text
                        .replace('\0', "")
                        .replace(['\u{2028}', '\u{2029}'], "\n");
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.clean(item, place)),
            Value::Object(fields) => {
                fields
                    .values_mut()
                    .for_each(|field| self.clean(field, place));
            }
            _ => {}
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let line = self.first_separator.and_then(|place| place.line);
        let line = line.map_or(String::new(), |line| {
            format!("; the first in the row of line {line}")
        });
        match self.num_separators {
            0 => {}
            1 => notes.push(format!(
                "A Unicode line separator (U+2028 or U+2029) became a line break{line}."
            )),
            count => notes.push(format!(
                "{count} Unicode line separators (U+2028 or U+2029) became line breaks{line}."
            )),
        }
        match self.num_nuls {
            0 => {}
            1 => notes.push("A NUL character inside a text was removed.".to_owned()),
            count => notes.push(format!("{count} NUL characters inside texts were removed.")),
        }
        notes
    }
}

impl<'a> Output<'a> {
    pub(super) fn new(sink: &'a mut dyn Sink) -> Self {
        Self {
            num_silent: 0,
            progress: Rc::new(Progress {
                sink: RefCell::new(sink),
                count: Rc::default(),
                before: Cell::new(0),
                num_bytes: Cell::new(0),
                reported: Cell::new(0),
            }),
            file: String::new(),
            features: None,
            features_aside: None,
            cleaned: Cleaned::default(),
        }
    }

    fn sink(&self) -> RefMut<'_, &'a mut dyn Sink> {
        self.progress.sink.borrow_mut()
    }

    /// Where the bytes of the present file are counted.
    pub(super) fn count(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.progress.count)
    }

    /// What tells the sink that the reading goes on.
    pub(super) fn sign(&self) -> Rc<dyn Fn() + 'a> {
        let progress = Rc::clone(&self.progress);
        Rc::new(move || progress.report(progress.done()))
    }

    /// Takes what a file next to those with rows says of their labels.
    pub(super) fn describe_all(&mut self, features: Features) {
        self.features_aside = Some(features);
    }

    /// Takes what the present file says of its labels itself.
    pub(super) fn describe(&mut self, features: Option<Features>) {
        self.features = features;
    }

    /// Tells what was done to the rows of the present file.
    fn finish_file(&mut self) {
        let features = self.features.as_mut().or(self.features_aside.as_mut());
        let mut notes = features.map(Features::take_notes).unwrap_or_default();
        notes.extend(std::mem::take(&mut self.cleaned).notes());
        for note in notes {
            self.sink().note(&self.file, &note);
        }
        self.features = None;
    }

    /// A dropped file begins.
    pub(super) fn begin(&mut self, num_bytes: u64) {
        self.progress.count.set(0);
        self.progress.num_bytes.set(num_bytes);
    }

    /// It was read to its end.
    pub(super) fn end(&mut self) {
        self.finish_file();
        let progress = &self.progress;
        progress
            .before
            .update(|before| before + progress.num_bytes.get());
        progress.num_bytes.set(0);
        progress.count.set(0);
        progress.report(progress.before.get());
    }

    pub(super) fn file(&mut self, name: &str, format: &str, encoding: &str) {
        self.finish_file();
        name.clone_into(&mut self.file);
        self.sink().file(name, format, encoding);
    }

    pub(super) fn encoding(&mut self, encoding: &str) {
        self.sink().encoding(encoding);
    }

    pub(super) fn note(&mut self, file: &str, note: &str) {
        self.sink().note(file, note);
    }

    pub(super) fn refused(&mut self, file: &str, error: &DatasetError) {
        self.sink().refused(file, error);
    }

    pub(super) fn record(&mut self, mut record: Record<'_>) {
        if let Some(features) = self.features.as_mut().or(self.features_aside.as_mut()) {
            features.apply(&mut record.fields);
        }
        for (_, value) in &mut record.fields {
            self.cleaned.clean(value, record.place);
            // A long text takes as long as many rows.
            self.num_silent += value.as_str().map_or(0, str::len) / BYTES_LIKE_A_ROW;
        }
        self.sink().record(record);
        self.progress();
    }

    pub(super) fn fault(&mut self, place: Place, what: impl Into<String>, remedy: &str) {
        self.sink().fault(
            place,
            Fault {
                what: what.into(),
                remedy: remedy.to_owned(),
            },
        );
        self.progress();
    }

    /// Tells how much was read, where that has moved on.
    pub(super) fn progress(&mut self) {
        let done = self.progress.done();
        self.num_silent += 1;
        if done >= self.progress.reported.get() + PROGRESS_BYTES || self.num_silent >= PROGRESS_ROWS
        {
            self.num_silent = 0;
            self.progress.report(done);
        }
    }
}
