//! Structure checks over the files that git tracks. They read text and know no types; rules that a lint can express are
//! left to clippy. Each test names every place that breaks its rule, not only the first.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A tracked file.
pub struct Tracked {
    /// Relative to the root, with forward slashes.
    pub path: String,
    pub bytes: Vec<u8>,
}

impl Tracked {
    /// The text, if the file is text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// The lines with their numbers, up to the file's test module.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text()
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line));
        lines.take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }
}

/// Every tracked or new, not ignored file below `folder` whose name ends with `ending`.
///
/// # Panics
/// If git does not answer, as these checks only make sense in a checkout, and if there is no such file: a rule about what is gone
/// would hold for ever.
#[expect(clippy::expect_used, reason = "only tests call it")]
pub fn files(folder: &str, ending: &str) -> Vec<Tracked> {
    let list = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
            "--",
            folder,
        ])
        .current_dir(root())
        .output()
        .expect("git answers");
    assert!(
        list.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&list.stderr)
    );
    let paths = String::from_utf8(list.stdout).expect("paths are UTF-8");
    let paths = paths
        .split('\0')
        .filter(|path| !path.is_empty() && path.ends_with(ending));
    // A file that is deleted but not committed is still listed.
    let files: Vec<Tracked> = paths
        .filter_map(|path| {
            Some(Tracked {
                path: path.to_owned(),
                bytes: std::fs::read(root().join(path)).ok()?,
            })
        })
        .collect();
    assert!(
        !files.is_empty(),
        "no file of {folder} ends with '{ending}'"
    );
    files
}

/// The words of a line: maximal runs of letters, digits and underscores.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

/// A line without its comment, roughly: good enough to look for names in code.
pub fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}
