//! The rules of the house that a machine can check (ARCHITECTURE.md tells why they are there).

use std::process::Command;

use tidy::{Tracked, files, rooms_named, root, without_comment, words};

/// Fails with every place that breaks the rule.
fn assert_none(rule: &str, breaks: &[String]) {
    assert!(breaks.is_empty(), "{rule}:\n  {}", breaks.join("\n  "));
}

/// The places in the code of these files where `is_wrong` holds.
fn places(files: &[Tracked], is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let wrong = file
            .code()
            .filter(|(_, line)| is_wrong(without_comment(line)));
        found
            .extend(wrong.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    found
}

fn is_of_browser(file: &Tracked) -> bool {
    file.path.starts_with("engine/worker/")
}

/// The crates below a package, as `cargo tree` lists them: a name, a version and, for ours, a path.
#[expect(clippy::unwrap_used, reason = "only tests call it")]
fn tree(package: &str, options: &[&str]) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "-e", "normal", "--prefix", "none"])
        .args(["--target", "wasm32-unknown-unknown", "-p", package])
        .args(options)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.starts_with(package), "the tree is that of {package}");
    tree.lines().map(str::to_owned).collect()
}

/// What compiles is what `Cargo.toml` allows; this says what it may allow.
#[test]
fn crates_know_only_what_is_below_them() {
    let root = root().canonicalize().unwrap();
    let root = root.to_str().unwrap();
    let is_of =
        |line: &str, names: &[&str]| names.contains(&line.split(' ').next().unwrap_or_default());
    let rules: [(&str, &[&str]); 4] = [
        ("app", &["protocol"]),
        ("reader", &["formats", "protocol"]),
        ("formats", &["protocol"]),
        ("kernels", &[]),
    ];
    for (package, below) in rules {
        let is_foreign = |line: &String| {
            let is_tensors = ["burn", "cubecl", "cubek", "wgpu", "naga"]
                .iter()
                .any(|name| line.starts_with(name));
            line.contains(root) && !is_of(line, &[package]) && !is_of(line, below) || is_tensors
        };
        let tree = tree(package, &[]);
        assert!(
            tree[0].contains(root),
            "our crates are listed with their paths"
        );
        assert_none(
            &format!("{package} knows {below:?} and no tensor library"),
            &tree.into_iter().filter(is_foreign).collect::<Vec<_>>(),
        );
    }
}

#[test]
fn the_protocol_is_plain_data() {
    let others = tree("protocol", &["--depth", "1"]).into_iter().skip(1);
    let others =
        others.filter(|line| !line.starts_with("serde v") && !line.starts_with("thiserror v"));
    assert_none(
        "the protocol depends on serde and thiserror alone",
        &others.collect::<Vec<_>>(),
    );
}

#[test]
fn the_browser_is_met_in_one_place() {
    let engine: Vec<Tracked> = files("engine", ".rs")
        .into_iter()
        .filter(|file| !is_of_browser(file))
        .collect();
    let crates = ["web_sys", "js_sys", "wasm_bindgen", "wasm_bindgen_futures"];
    let uses = places(&engine, |line| {
        words(line).any(|word| crates.contains(&word))
    });
    assert_none("only engine/worker knows the browser", &uses);
    let elsewhere: Vec<Tracked> = engine
        .into_iter()
        .filter(|file| file.path != "engine/kernels/src/cpu/simd.rs")
        .collect();
    let switches = places(&elsewhere, |line| {
        line.contains("target_arch") || line.contains("target_family")
    });
    assert_none(
        "only engine/worker and the CPU kernels' SIMD know which machine they are compiled for",
        &switches,
    );
}

#[test]
fn the_engine_has_no_window() {
    let is_page = |word: &str| {
        ["window", "document", "Window", "Document"].contains(&word)
            || word
                .strip_prefix("Html")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    let worker = files("engine/worker", ".rs");
    assert_none(
        "the engine runs in a worker, which has no page",
        &places(&worker, |line| words(line).any(is_page)),
    );
    let features = files("engine/worker/Cargo.toml", "");
    let named = places(&features, |line| {
        line.contains("\"Window\"") || line.contains("\"Document\"") || line.contains("\"Html")
    });
    assert_none(
        "the worker's web-sys features name no part of a page",
        &named,
    );
}

/// The rooms of the engine, lowest first: what stands in a line knows only the lines above it. Crates are the compiler's business.
const ROOMS: [&[&str]; 13] = [
    &["arch", "device", "number", "sizes", "surroundings"],
    &["tensor", "transfer", "weights"],
    &["tokenizer", "pacing"],
    &["template"],
    &["data"],
    &["layers"],
    &["adapter"],
    &["model"],
    &["plan"],
    &["generate", "import", "self_test", "train"],
    &["export", "host"],
    &["workbench"],
    &["lib"],
];

#[test]
fn dependencies_point_down() {
    let floor = |room: &str| ROOMS.iter().position(|rooms| rooms.contains(&room));
    let mut breaks = Vec::new();
    for file in files("engine/src", ".rs") {
        let path = file.path.trim_start_matches("engine/src/");
        let room = words(path).next().unwrap_or_default();
        let Some(own) = floor(room) else {
            breaks.push(format!("{}: {room} has no place in ROOMS", file.path));
            continue;
        };
        for (line, named) in rooms_named(&file) {
            if named != room && floor(&named).is_some_and(|other| other >= own) {
                breaks.push(format!("{}:{line}: {named}", file.path));
            }
        }
    }
    assert_none("a room of the engine knows only those below it", &breaks);
}

#[test]
fn methods_are_told_apart_in_one_place() {
    let facts = "engine/protocol/src/adapter/method.rs";
    let registry = "engine/src/adapter/method.rs";
    let facts_file = &files(facts, ".rs")[0];
    let (_, variants) = facts_file.text().split_once("pub enum Method {").unwrap();
    let (variants, _) = variants.split_once('}').unwrap();
    let variants: Vec<String> = variants
        .lines()
        .filter_map(|line| Some(format!("Method::{}", line.trim().strip_suffix(',')?)))
        .collect();
    assert!(variants.len() > 1, "the enum is read as it is written");
    let elsewhere = files("engine", ".rs")
        .into_iter()
        .chain(files("app/src", ".rs"))
        .filter(|file| !file.path.contains("/tests") && ![facts, registry].contains(&&*file.path));
    let is_named = |line: &str| {
        // The first is the default, which may be chosen without being compared.
        let is_compared = ["==", "!=", "=>", "matches!"]
            .iter()
            .any(|sign| line.contains(sign));
        let mut others = variants[usize::from(!is_compared)..].iter();
        others.any(|variant| line.contains(variant.as_str()))
    };
    assert_none(
        "a method is known by its facts, and does what its own file says: nothing else asks which it is",
        &places(&elsewhere.collect::<Vec<_>>(), is_named),
    );
}

#[test]
fn files_stay_short() {
    let lengths = |folder: &str, most: usize, is_counted: fn(&str) -> bool| -> Vec<String> {
        let lengths = files(folder, ".rs").into_iter().map(|file| {
            let counted = file.code().filter(|(_, line)| is_counted(line));
            (counted.count(), file)
        });
        let long = lengths.filter(|(length, _)| *length > most);
        long.map(|(length, file)| format!("{}: {length} lines", file.path))
            .collect()
    };
    let is_no_comment = |line: &str| !line.trim_start().starts_with("//");
    assert_none(
        "an engine file has at most 390 lines before its tests, comments aside",
        &lengths("engine", 390, is_no_comment),
    );
    for folder in ["step", "shell", "shared"] {
        assert_none(
            "a component's file has at most 200 lines",
            &lengths(&format!("app/src/{folder}"), 200, |_| true),
        );
    }
}

#[test]
fn modules_have_one_layout() {
    let named = files(".", ".rs")
        .into_iter()
        .filter(|file| file.path == "mod.rs" || file.path.ends_with("/mod.rs"));
    assert_none(
        "`foo.rs` next to `foo/`, never mod.rs",
        &named.map(|file| file.path).collect::<Vec<_>>(),
    );
}

#[test]
fn the_repository_stays_light() {
    let heavy = files(".", "")
        .into_iter()
        .filter(|file| file.bytes.len() > 5 << 20);
    assert_none(
        "no tracked file is over 5 MiB",
        &heavy.map(|file| file.path).collect::<Vec<_>>(),
    );
}

#[test]
fn the_top_level_is_fixed() {
    let allowed = ["app", "engine", "tests", ".cargo", ".ci"];
    let folders = files(".", "")
        .into_iter()
        .filter_map(|file| Some(file.path.split_once('/')?.0.to_owned()));
    let mut others: Vec<String> = folders
        .filter(|folder| !allowed.contains(&folder.as_str()))
        .collect();
    others.dedup();
    assert_none("the top-level folders are fixed", &others);
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let mut silent = Vec::new();
    for manifest in files(".", "Cargo.toml") {
        let (mut is_dependencies, mut is_explained, mut is_in_list) = (false, false, false);
        for (number, line) in manifest.text().lines().enumerate() {
            if line.starts_with('[') {
                is_dependencies = line.contains("dependencies");
                is_explained = false;
            } else if line.starts_with('#') {
                is_explained = true;
            } else if line.trim().is_empty() {
                is_explained = false;
            } else if is_dependencies && !is_in_list {
                // A comment covers the lines that follow it up to the next empty one; the root explains what it names.
                let is_inherited = line.contains("workspace = true") || line.contains("path = ");
                if !is_explained && !is_inherited {
                    silent.push(format!("{}:{}: {line}", manifest.path, number + 1));
                }
            }
            is_in_list = if is_in_list {
                !line.contains(']')
            } else {
                line.ends_with('[')
            };
        }
    }
    assert_none(
        "a comment above each dependency says what it is for",
        &silent,
    );
}

#[test]
fn the_tools_match_the_crates() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let after = |text: &str, key: &str| -> String {
        let line = text
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_else(|| panic!("no line {key}"));
        line[key.len()..]
            .trim_matches(['"', '=', ' ', '^'])
            .to_owned()
    };
    let (cargo, setup, trunk) = (
        read("Cargo.toml"),
        read("tests/setup/common.sh"),
        read("Trunk.toml"),
    );
    let of_crate = after(&cargo, "wasm-bindgen = ");
    assert_eq!(
        of_crate,
        after(&setup, "WASM_BINDGEN_VERSION="),
        "the tool in tests/setup/common.sh"
    );
    assert_eq!(
        of_crate,
        after(&trunk, "wasm_bindgen = "),
        "the tool in Trunk.toml"
    );
    assert_eq!(
        after(&trunk, "trunk-version = "),
        after(&setup, "TRUNK_VERSION="),
        "trunk"
    );
    let locked = format!("name = \"wasm-bindgen\"\nversion = \"{of_crate}\"");
    assert!(
        read("Cargo.lock").contains(&locked),
        "Cargo.lock has another wasm-bindgen"
    );
    assert_eq!(
        after(&read("rust-toolchain.toml"), "channel = "),
        format!("{}.0", after(&cargo, "rust-version = "))
    );
}

#[test]
fn the_accessible_names_stay() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = architecture
        .split("## Accessible names")
        .nth(1)
        .expect("ARCHITECTURE.md lists the accessible names");
    let section = section.split("\n## ").next().unwrap();
    let names: Vec<&str> = section.split('`').skip(1).step_by(2).collect();
    assert!(names.len() >= 40, "the list is whole: {names:?}");
    let settings = files("engine/protocol/src/setting", ".rs");
    let sources: String = files("app", ".rs")
        .iter()
        .chain(&settings)
        .map(|file| file.text().to_owned())
        .collect();
    let lost = names
        .iter()
        .filter(|name| !sources.contains(&format!("\"{name}")));
    assert_none(
        "scripts find controls by these names",
        &lost.map(|name| (*name).to_owned()).collect::<Vec<_>>(),
    );
}

/// Browsers without `light-dark()` would show a page without colors.
#[test]
fn every_color_has_one_for_older_browsers() {
    let style = std::fs::read_to_string(root().join("app/style/tokens.css")).unwrap();
    let (modern, older) = style.split_once("@supports not").unwrap();
    let colors = modern.lines().filter_map(|line| {
        let (name, rest) = line.trim().split_once(": ")?;
        let (before, colors) = rest.split_once("light-dark(")?;
        // The first color ends at a comma outside parentheses.
        let mut depth = 0;
        let light = colors.split_once(|c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth == 0
        })?;
        Some(format!("{name}: {before}{};", light.0))
    });
    let colors: Vec<String> = colors.collect();
    assert!(colors.len() > 20, "{colors:?}");
    let missing: Vec<String> = colors
        .into_iter()
        .filter(|color| !older.contains(color.as_str()))
        .collect();
    assert_none(
        "each light-dark() color stands under @supports not",
        &missing,
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt in two parts, so that this file does not find itself.
    let words_for_later = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("HA", "CK:"),
    ];
    let mut left = Vec::new();
    for file in files(".", "") {
        let is_prose_or_code = [".rs", ".md", ".toml", ".sh", ".py", ".html", ".css", ".js"]
            .iter()
            .any(|ending| file.path.ends_with(ending));
        for (number, line) in file.text().lines().enumerate().filter(|_| is_prose_or_code) {
            if words_for_later.iter().any(|word| line.contains(word)) {
                left.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert_none("what is left for later is not in the sources", &left);
}
