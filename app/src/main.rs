//! Inlay's page: mounts the shell.

fn main() {}
