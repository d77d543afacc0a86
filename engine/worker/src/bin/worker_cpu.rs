//! The dedicated worker with the CPU engine.

fn main() {
    worker::serve();
}
