//! What a visitor downloads: the page, and one worker of several.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::visit::{Outcome, root};

/// What a worker's program may weigh, gzipped.
const LIMITS: [(&str, usize); 5] = [
    ("worker_cpu", 1_550_000),
    ("worker_cpu_threads", 1_550_000),
    ("worker_cpu_relaxed", 1_550_000),
    ("worker_gpu", 3_200_000),
    ("worker_data", 900_000),
];

fn is_built(test: &str) -> bool {
    let built = root().join("dist/index.html").exists();
    if !built {
        println!("SKIPPED {test}: the page is not built (make build)");
    }
    built
}

fn gzipped_bytes(path: &Path) -> Result<usize, Box<dyn Error>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&std::fs::read(path)?)?;
    Ok(encoder.finish()?.len())
}

#[test]
fn workers_are_light() -> Outcome {
    if !is_built("workers_are_light") {
        return Ok(());
    }
    let mut heavy = Vec::new();
    for (name, limit) in LIMITS {
        let path = root().join("dist").join(format!("{name}_bg.wasm"));
        if !path.exists() && name.starts_with("worker_cpu_") {
            println!("SKIPPED workers_are_light: there is no {name} (make setup adds rust-src)");
            continue;
        }
        let bytes = gzipped_bytes(&path)?;
        println!("{name}: {bytes} bytes gzipped");
        if bytes > limit {
            heavy.push(format!(
                "{name}: {bytes} bytes gzipped, {limit} are allowed"
            ));
        }
    }
    assert!(heavy.is_empty(), "{heavy:?}");
    Ok(())
}

#[test]
fn the_page_without_its_workers_is_light() -> Outcome {
    if !is_built("the_page_without_its_workers_is_light") {
        return Ok(());
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(root().join("dist"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_file() && !name.starts_with("worker") {
            bytes += gzipped_bytes(&path)?;
        }
    }
    println!("{bytes} bytes gzipped");
    assert!(bytes < 700_000, "{bytes} bytes gzipped");
    Ok(())
}
