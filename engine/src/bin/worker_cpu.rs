//! The dedicated worker with the CPU engine.

fn main() {
    engine::web::serve();
}
