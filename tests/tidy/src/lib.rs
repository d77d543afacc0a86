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

/// The modules at the top of its crate that a file's code names after `crate::`, with the lines: alone, in a path or inside braces.
pub fn rooms_named(file: &Tracked) -> Vec<(usize, String)> {
    let mut code = String::new();
    let mut starts = Vec::new();
    for (number, line) in file.code() {
        starts.push((code.len(), number));
        code += without_comment(line);
        code.push('\n');
    }
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let is_whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let path = &code[at + "crate::".len()..];
        let mut first = |offset: usize| {
            let rest = path[offset..].trim_start();
            let word = words(rest).next().unwrap_or_default();
            let place = at + "crate::".len() + path.len() - rest.len();
            let line = starts.iter().rev().find(|(start, _)| *start <= place);
            named.push((line.map_or(0, |(_, number)| *number), word.to_owned()));
        };
        if !is_whole {
            continue;
        }
        if !path.starts_with('{') {
            first(0);
            continue;
        }
        let mut depth = 0;
        for (offset, byte) in path.bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 1 && matches!(byte, b'{' | b',') {
                // Nothing may follow a last comma.
                let rest = path[offset + 1..].trim_start();
                if !rest.starts_with('}') {
                    first(offset + 1);
                }
            }
            if depth == 0 {
                break;
            }
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_found_however_they_are_named() {
        let text = "use crate::a;\nuse crate::{\n    b::{c, d::e},\n    f,\n    // crate::not,\n    g::{\n        h,\n    },\n};\n\
                    fn x() { crate::i::j(mycrate::k) }\n#[cfg(test)]\nuse crate::l;\n";
        let file = Tracked {
            path: String::new(),
            bytes: text.as_bytes().to_vec(),
        };
        let expected = [(1, "a"), (3, "b"), (4, "f"), (6, "g"), (10, "i")];
        let expected = expected.map(|(line, room)| (line, room.to_owned()));
        assert_eq!(rooms_named(&file), expected);
    }
}
