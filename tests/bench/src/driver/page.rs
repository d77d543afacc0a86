//! The bench's page in the browser: every side has a worker there, which is called by name.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use e2e::webdriver::Session;
use serde_json::{Value, json};

use crate::BenchError;

/// The longest that one request to the browser's driver waits; it has a limit of its own.
const WAIT: Duration = Duration::from_secs(60);

/// The real model's file below the site, if it was fetched.
pub struct Model(Option<String>);

impl Model {
    pub fn of(site: &Path) -> Self {
        let files = std::fs::read_dir(site.join("models")).ok();
        let mut names = files
            .into_iter()
            .flatten()
            .map_while(Result::ok)
            .filter_map(|file| file.file_name().into_string().ok());
        Self(names.find(|name| name.ends_with(".gguf")))
    }
}

pub struct BenchPage<'a> {
    session: &'a Session,
    model: Model,
    /// Whether the GPU supports halves.
    pub has_f16: bool,
}

impl<'a> BenchPage<'a> {
    /// Opens the page.
    ///
    /// # Errors
    /// The browser's.
    pub fn open(session: &'a Session, origin: &str, model: Model) -> Result<Self, BenchError> {
        session.post("timeouts", json!({ "script": 2 * WAIT.as_millis() as u64 }))?;
        session.navigate(origin)?;
        let script = "const done = arguments[0]; const adapter = navigator.gpu?.requestAdapter() ?? Promise.resolve();
            adapter.then((adapter) => done(adapter?.features.has('shader-f16') ?? false), () => done(false));";
        let answer = session.post("execute/async", json!({ "script": script, "args": [] }))?;
        Ok(Self {
            session,
            model,
            has_f16: answer == Value::Bool(true),
        })
    }

    /// Starts a side; returns what it reports about itself.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn start(&self, worker: &str, patience: Duration) -> Result<Value, String> {
        let arguments = match &self.model.0 {
            Some(model) if worker.starts_with("ours") => json!([model]),
            _ => json!([]),
        };
        self.call(worker, "start", arguments, patience)
    }

    /// Calls a side's worker; a side that does not answer in time, or whose worker broke, is ended.
    ///
    /// # Errors
    /// What the side threw, or that it was too slow.
    pub fn call(
        &self,
        worker: &str,
        call: &str,
        arguments: Value,
        patience: Duration,
    ) -> Result<Value, String> {
        let send = "return bench.send(...arguments)";
        let id = self
            .session
            .script(send, json!([worker, call, arguments]))
            .map_err(|error| error.to_string())?;
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed()).min(WAIT);
            let wait = "const [id, millis, done] = arguments; bench.wait(id, millis).then(done)";
            let answer = self
                .session
                .post(
                    "execute/async",
                    json!({ "script": wait, "args": [id, left.as_millis() as u64] }),
                )
                .map_err(|error| error.to_string())?;
            if let Some(error) = answer["error"].as_str() {
                return Err(error.to_owned());
            }
            if !answer.is_null() {
                return Ok(answer["value"].clone());
            }
            if start.elapsed() >= patience {
                self.end(worker);
                return Err(format!(
                    "no answer to {call} within {} s",
                    patience.as_secs()
                ));
            }
        }
    }

    /// Ends a side's worker, whatever it is doing.
    pub fn end(&self, worker: &str) {
        // A page that cannot even do that will fail the next call.
        let _ = self
            .session
            .script("bench.end(arguments[0])", json!([worker]));
    }
}
