//! The dedicated worker that reads dataset files.

fn main() {
    engine::web::serve_reader();
}
