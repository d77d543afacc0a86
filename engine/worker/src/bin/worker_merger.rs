//! The dedicated worker that writes one merged model.

fn main() {
    worker::serve_merger();
}
