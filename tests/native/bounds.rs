//! Files that strangers made to take all memory or the whole stack: each is refused, or takes at most four times its own
//! size and 64 MB. A separate test program, since it counts all allocations.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{thread, time::Instant};

use counting::{Counting, allowed};
use kind::Kind;

#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/counting.rs"]
mod counting;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/fetched.rs"]
mod fetched;
#[path = "common/gguf_header.rs"]
mod gguf_header;
#[path = "bounds/header.rs"]
mod header;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "common/kind.rs"]
mod kind;
#[path = "common/sparse.rs"]
mod sparse;
#[path = "bounds/template.rs"]
mod template;
#[path = "bounds/tokenizer.rs"]
mod tokenizer;

#[global_allocator]
static ALLOCATOR: Counting = Counting::BY_THREAD;

/// A quarter of the stack that a worker has (wasm-ld's 1 MB); what a thread of the tests has is twice that.
const STACK_BYTES: usize = 256 << 10;

/// Carries out `act`, which is given an input of `input_bytes`, on a small stack, and checks what it takes.
fn bounded<T: Send>(
    kind: &mut Kind,
    input: &str,
    input_bytes: usize,
    act: impl FnOnce() -> T + Send,
) -> T {
    let start = Instant::now();
    // An overflow of the stack ends the program and tells the thread's name.
    let what = format!("{}, {input}", kind.name);
    let outcome = thread::scope(|scope| {
        let small = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .name(what.clone());
        let measured = || ALLOCATOR.measured(act);
        small.spawn_scoped(scope, measured).unwrap().join()
    });
    let took = start.elapsed();
    let (result, peak) = outcome.unwrap_or_else(|_| panic!("{what} panics"));
    let most = allowed(input_bytes);
    assert!(
        peak <= most,
        "{what}: {input_bytes} bytes took {peak}, more than {most}, and {took:.2?}"
    );
    kind.add(input, peak, took);
    result
}
