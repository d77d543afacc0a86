//! Runs axe, which checks a page for problems of people who use a keyboard, a magnifier or a screen reader.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::webdriver::{Session, WebDriverError};

#[derive(Debug, thiserror::Error)]
pub enum AxeError {
    #[error("{0} cannot be read: {1}")]
    Script(PathBuf, std::io::Error),
    #[error(transparent)]
    WebDriver(#[from] WebDriverError),
    #[error("axe gave no list of violations, but {0}")]
    Answer(String),
}

/// Runs every rule on the page as it is now, including WCAG 2.2's rule for small targets; returns a sentence for each
/// element that breaks one.
const RUN: &str = "
    const { violations } = await axe.run(document, { resultTypes: ['violations'], rules: { 'target-size': { enabled: true } } });
    return violations.flatMap(({ id, impact, nodes }) => nodes.map((node) =>
        `${id} (${impact}): ${node.html.slice(0, 200)}: ${node.failureSummary}`));";

/// The script, as npm installed it (`tests/setup/browser.sh`).
pub fn script_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node_modules/axe-core/axe.min.js")
}

/// The violations on the page as it is shown now.
///
/// # Errors
/// Where the script is missing, or does not run.
pub fn violations(session: &Session) -> Result<Vec<String>, AxeError> {
    let file = script_file();
    let axe = std::fs::read_to_string(&file).map_err(|error| AxeError::Script(file, error))?;
    session.script(&axe, json!([]))?;
    let run = format!("return (async () => {{ {RUN} }})();");
    match session.script(&run, json!([]))? {
        Value::Array(said) => Ok(said
            .iter()
            .filter_map(|said| said.as_str().map(str::to_owned))
            .collect()),
        other => Err(AxeError::Answer(other.to_string())),
    }
}
