//! Files that strangers made to take all memory or the whole stack: each is refused, or takes at most four times its own
//! size and 64 MB. A separate test program, since it counts all allocations.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{thread, time::Instant};

use counting::{Counting, allowed, alone, measured};

#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/counting.rs"]
mod counting;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/fetched.rs"]
mod fetched;
#[path = "bounds/header.rs"]
mod header;
#[path = "bounds/template.rs"]
mod template;
#[path = "bounds/tokenizer.rs"]
mod tokenizer;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A quarter of the stack that a worker has (wasm-ld's 1 MB); what a thread of the tests has is twice that.
const STACK_BYTES: usize = 256 << 10;

/// Carries out `act`, which is given an input of `input_bytes`, on a small stack, and checks what it takes.
fn bounded<T: Send>(name: &str, input_bytes: usize, act: impl FnOnce() -> T + Send) -> T {
    let start = Instant::now();
    let (result, peak) = measured(|| {
        thread::scope(|scope| {
            let small = thread::Builder::new().stack_size(STACK_BYTES);
            small.spawn_scoped(scope, act).unwrap().join()
        })
    });
    let took = start.elapsed();
    println!(
        "{name}: {input_bytes} bytes took {:.1} MB and {took:.2?}",
        peak as f64 / 1e6
    );
    let most = allowed(input_bytes);
    assert!(peak <= most, "{name}: {peak} bytes, more than {most}");
    result.unwrap()
}
