//! The reader's worker: reads one dataset, hands its rows out as a blob, and lists them while the page wants to see them.
//!
//! Page to worker: `{ json: ReaderCommand, files: [File] }`. Worker to page: `{ json: ReaderEvent, blob?: Blob }`. The
//! browser keeps blobs, on disk if they are large, so neither worker holds the rows.

use std::{
    cell::RefCell,
    io::{BufReader, Cursor, Read, Seek},
    rc::Rc,
};

use js_sys::{Array, Reflect};
use protocol::{
    DatasetSource, DatasetSummary, Failure, FailureKind, ReadSpec, ReaderCommand, ReaderEvent,
    RowFilter, RowSummary,
};
use reader::{
    Input, Source,
    dataset::{Observer, ReadDataset, read_dataset},
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{Blob, DedicatedWorkerGlobalScope, File, MessageEvent};

use super::{
    blob_parts::BlobParts, constructor::run_constructors, message, panic::report_panic,
    post::post_event, sync_blob::SyncBlob,
};

/// The number of bytes of a file read at once.
const SLICE_BYTES: usize = 1 << 20;

/// Starts the worker. Returns at once; the rest happens as messages arrive.
pub fn serve() {
    run_constructors();
    std::panic::set_hook(Box::new(report_panic));
    let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let port = Rc::new(Port(scope.clone()));
    let listener = port.clone();
    let read = RefCell::new(None);
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        // Reading blocks the worker, so no message arrives during another.
        if let Err(failure) = handle(&event.data(), &listener, &mut read.borrow_mut()) {
            listener.emit(&ReaderEvent::Failed { failure }, None);
        }
    });
    scope.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    on_message.forget();
    port.emit(&ReaderEvent::Ready, None);
}

/// The dataset that was read, and the blob of its rows.
type Kept = Option<(ReadDataset, Blob)>;

fn handle(data: &JsValue, port: &Port, kept: &mut Kept) -> Result<(), Failure> {
    let (command, files) = parse(data).map_err(|reason| {
        let what = "The reader could not read a message from the page.";
        internal(what, &reason)
    })?;
    match command {
        ReaderCommand::Read { source, spec } => {
            let (dataset, blob) = read(source, files, &spec, port)?;
            let event = ReaderEvent::Read {
                dataset: dataset.summary.clone(),
            };
            port.emit(&event, Some(&blob));
            *kept = Some((dataset, blob));
            Ok(())
        }
        ReaderCommand::ListRows {
            start,
            count,
            filter,
        } => {
            let Some((dataset, blob)) = kept else {
                return Ok(());
            };
            let (total, rows) = list(dataset, blob, start, count, filter)?;
            let event = ReaderEvent::Rows {
                start,
                total,
                filter,
                rows,
            };
            port.emit(&event, None);
            Ok(())
        }
    }
}

fn read(
    source: DatasetSource,
    files: Vec<File>,
    spec: &ReadSpec,
    port: &Port,
) -> Result<(ReadDataset, Blob), Failure> {
    let mut inputs = inputs(source, files).map_err(|error| unreadable(&error))?;
    let mut watcher = Watcher {
        port,
        parts: BlobParts::default(),
        error: None,
    };
    let dataset = read_dataset(&mut inputs, spec, &mut watcher)?;
    if let Some(error) = watcher.error {
        return Err(unstored(&error));
    }
    let blob = watcher.parts.finish().map_err(|error| unstored(&error))?;
    Ok((dataset, blob))
}

fn inputs(source: DatasetSource, files: Vec<File>) -> Result<Vec<Input>, JsValue> {
    match source {
        DatasetSource::Text { name, text } => Ok(vec![Input {
            name,
            num_bytes: text.len() as u64,
            source: Box::new(Cursor::new(text.into_bytes())),
        }]),
        DatasetSource::Files { names } => files
            .into_iter()
            .enumerate()
            .map(|(index, file)| {
                // The page knows the folders of files, which may say what they are for.
                let name = names.get(index).cloned();
                let name = name.unwrap_or_else(|| file.name());
                let blob = SyncBlob::new(file.into())?;
                let num_bytes = blob.num_bytes();
                let source: Box<dyn Source> = Box::new(BufReader::with_capacity(SLICE_BYTES, blob));
                Ok(Input {
                    name,
                    num_bytes,
                    source,
                })
            })
            .collect(),
    }
}

fn list(
    dataset: &ReadDataset,
    blob: &Blob,
    start: usize,
    count: usize,
    filter: RowFilter,
) -> Result<(usize, Vec<RowSummary>), Failure> {
    let (indices, total) = dataset.select(start, count, filter);
    let mut source = SyncBlob::new(blob.clone()).map_err(|error| unstored(&error))?;
    let mut rows = Vec::with_capacity(indices.len());
    for index in indices {
        let range = dataset.index.bytes(index..index + 1);
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let read = source
            .seek(std::io::SeekFrom::Start(range.start))
            .and_then(|_| source.read_exact(&mut bytes));
        read.map_err(|error| internal("The rows can no longer be read.", &error.to_string()))?;
        let stored = dataset.index.rows(index..index + 1, &bytes);
        let stored = stored
            .map_err(|error| internal("The rows can no longer be read.", &error.to_string()))?;
        rows.extend(stored.iter().map(|row| row.summary()));
    }
    Ok((total, rows))
}

fn internal(what: &str, reason: &str) -> Failure {
    Failure::new(FailureKind::Internal, what)
        .at(reason)
        .remedy("Drop the dataset again; if that does not help, reload the page.")
}

fn unreadable(error: &JsValue) -> Failure {
    let what = format!("The files cannot be read: {}", message(error));
    Failure::new(FailureKind::Dataset, what).remedy("Drop them again.")
}

fn unstored(error: &JsValue) -> Failure {
    let what = format!("The browser has no room for the rows: {}", message(error));
    Failure::new(FailureKind::Dataset, what).remedy("Free up some disk space, or use fewer rows.")
}

/// Reports a reading to the page and collects its rows.
struct Watcher<'a> {
    port: &'a Port,
    parts: BlobParts,
    error: Option<JsValue>,
}

impl Observer for Watcher<'_> {
    fn progress(&mut self, done: u64, total: u64) {
        self.port.emit(&ReaderEvent::Progress { done, total }, None);
    }

    fn preview(&mut self, dataset: DatasetSummary) {
        self.port.emit(&ReaderEvent::Preview { dataset }, None);
    }

    fn rows(&mut self, part: Vec<u8>) {
        if let Err(error) = self.parts.push(&part) {
            self.error = Some(error);
        }
    }
}

/// The worker's end of the channel.
struct Port(DedicatedWorkerGlobalScope);

impl Port {
    fn emit(&self, event: &ReaderEvent, blob: Option<&Blob>) {
        post_event(&self.0, event, blob);
    }
}

fn parse(data: &JsValue) -> Result<(ReaderCommand, Vec<File>), String> {
    let json = Reflect::get(data, &"json".into())
        .ok()
        .and_then(|json| json.as_string())
        .ok_or("the message has no `json`")?;
    let command = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    let files = Reflect::get(data, &"files".into()).map_err(|error| message(&error))?;
    let files = if files.is_array() {
        Array::from(&files)
    } else {
        Array::new()
    };
    let files = files.iter().map(|file| {
        file.dyn_into()
            .map_err(|_| "`files` holds something that is no file".to_owned())
    });
    Ok((command, files.collect::<Result<_, _>>()?))
}
