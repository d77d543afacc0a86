//! The dedicated worker that reads dataset files.

fn main() {
    worker::serve_reader();
}
