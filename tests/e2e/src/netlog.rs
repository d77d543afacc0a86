//! Chromium's own record of its network traffic, pages and workers alike (`--log-net-log`).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum NetLogError {
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    #[error("{0} is not a network log of Chromium: {1}")]
    Format(PathBuf, &'static str),
}

/// The events that carry an address about to be requested.
const EVENTS: [&str; 2] = ["URL_REQUEST_START_JOB", "WEB_SOCKET_SEND_REQUEST_HEADERS"];

/// Every address that a page or worker of `origin` requested. The browser's own traffic carries no such initiator and
/// is left out; the first load of the page, whose initiator is the person, is left out with it.
///
/// # Errors
/// Where the log is missing or not of the known form.
pub fn requests_of(path: &Path, origin: &str) -> Result<Vec<String>, NetLogError> {
    let file =
        std::fs::File::open(path).map_err(|error| NetLogError::Read(path.to_owned(), error))?;
    // One line of constants, then one event a line, each but the last followed by a comma; the log may end abruptly.
    let mut lines = BufReader::new(file).lines();
    let constants = lines.next().and_then(Result::ok).unwrap_or_default();
    let constants: Value = serde_json::from_str(&format!("{}}}", constants.trim_end_matches(',')))
        .map_err(|_| {
            NetLogError::Format(
                path.to_owned(),
                "its first line is not a table of constants",
            )
        })?;
    let types = &constants["constants"]["logEventTypes"];
    let wanted: Vec<u64> = EVENTS
        .iter()
        .filter_map(|name| types[name].as_u64())
        .collect();
    if wanted.is_empty() {
        return Err(NetLogError::Format(
            path.to_owned(),
            "it does not know requests",
        ));
    }
    let events = lines.map_while(Result::ok).filter_map(|line| event(&line));
    let urls = events
        .filter(|event| {
            event["type"]
                .as_u64()
                .is_some_and(|kind| wanted.contains(&kind))
        })
        .filter(|event| {
            event["params"]["initiator"]
                .as_str()
                .is_some_and(|initiator| initiator.starts_with(origin))
        })
        .filter_map(|event| event["params"]["url"].as_str().map(str::to_owned));
    Ok(urls.collect())
}

/// One event's line: the last one is followed by the end of the list.
fn event(line: &str) -> Option<Value> {
    let line = line.trim_end_matches(',');
    serde_json::from_str(line)
        .or_else(|_| serde_json::from_str(line.trim_end_matches("]}")))
        .ok()
}
