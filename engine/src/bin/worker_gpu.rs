//! The dedicated worker with the WebGPU engine.

fn main() {
    engine::web::serve();
}
