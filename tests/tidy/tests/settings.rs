//! The README lists the settings as the table of the protocol has them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use protocol::SETTINGS;

/// The README's table.
fn table() -> String {
    let mut table = "| on the page | in recipes | at first | may be | what it does |\n\
                     |---|---|---|---|---|\n"
        .to_owned();
    for setting in SETTINGS {
        let name = match setting.group.is_of_run() {
            true => format!("`{}`", setting.name),
            false => String::new(),
        };
        let (label, first, allowed) = (setting.label, setting.first(), setting.allowed());
        let hint = setting.hint;
        writeln!(table, "| {label} | {name} | {first} | {allowed} | {hint} |").unwrap();
    }
    table
}

#[test]
fn the_readme_lists_every_setting() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let table = table();
    assert!(
        readme.contains(&format!("\n\n{table}\n")),
        "README.md, \"All settings\", must have this table:\n\n{table}"
    );
}
