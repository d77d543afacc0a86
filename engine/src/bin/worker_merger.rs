//! The dedicated worker that writes one merged model.

fn main() {
    engine::web::serve_merger();
}
