//! The dedicated worker with the WebGPU engine.

fn main() {
    worker::serve();
}
