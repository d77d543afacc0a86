//! Chromium's own record of what the page's thread did: its tasks, each with its processor time.
//!
//! A page is responsible for processor time, not for how long a task lasted: on a busy machine every task lasts longer.

use serde_json::Value;

/// The tasks, and the marks that a page sets with `performance.mark`.
pub const CATEGORIES: &str = "disabled-by-default-devtools.timeline,blink.user_timing";

const TASK: &str = "RunTask";
const MARK: &str = "blink.user_timing";

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("the page set no mark '{0}'")]
    NoMark(String),
    #[error("the record has no task of the page's thread between '{0}' and '{1}'")]
    NoTasks(String, String),
}

/// A task of the page's thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Task {
    /// Since the first mark.
    pub start_millis: f64,
    pub cpu_millis: f64,
    pub wall_millis: f64,
}

/// The tasks and marks of a trace.
#[derive(Default)]
pub struct Record(Vec<Value>);

impl Record {
    /// Takes the lines of the driver's performance log.
    pub fn extend(&mut self, log: &[Value]) {
        let event = |line: &Value| {
            let mut line: Value = serde_json::from_str(line["message"].as_str()?).ok()?;
            Some(line["message"]["params"].take())
        };
        let is_of_use = |event: &Value| event["name"] == TASK || event["cat"] == MARK;
        self.0
            .extend(log.iter().filter_map(event).filter(is_of_use));
    }

    /// The tasks that began between two marks, on the thread that set them.
    ///
    /// # Errors
    /// Where the record lacks a mark, or any task: then it shows nothing.
    pub fn tasks_between(&self, first: &str, last: &str) -> Result<Vec<Task>, TraceError> {
        let (begin, end) = (self.mark(first)?, self.mark(last)?);
        let thread = |event: &Value| (event["pid"].as_u64(), event["tid"].as_u64());
        let millis = |event: &Value, key: &str| Some(event[key].as_f64()? / 1e3);
        let task = |event: &Value| {
            Some(Task {
                start_millis: millis(event, "ts")? - millis(begin, "ts")?,
                cpu_millis: millis(event, "tdur")?,
                wall_millis: millis(event, "dur")?,
            })
        };
        let span_millis = millis(end, "ts").unwrap_or(0.0) - millis(begin, "ts").unwrap_or(0.0);
        let tasks: Vec<Task> = self
            .0
            .iter()
            .filter(|event| event["name"] == TASK && thread(event) == thread(begin))
            .filter_map(task)
            .filter(|task| (0.0..span_millis).contains(&task.start_millis))
            .collect();
        if tasks.is_empty() {
            return Err(TraceError::NoTasks(first.to_owned(), last.to_owned()));
        }
        Ok(tasks)
    }

    /// The event of a mark.
    ///
    /// # Errors
    /// Where the record has none of that name.
    pub fn mark(&self, name: &str) -> Result<&Value, TraceError> {
        let is_mark = |event: &&Value| event["cat"] == MARK && event["name"] == name;
        let found = self.0.iter().find(is_mark);
        found.ok_or_else(|| TraceError::NoMark(name.to_owned()))
    }
}
