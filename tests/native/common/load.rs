//! The models of the tests, on the CPU.

use burn::tensor::Device;
use engine::{model::Model, weights::checkpoint::ModelFiles};
use futures_executor::block_on;

use super::{fetched::open_bundled, golden};

/// One of the committed models, `tiny` or `odd`.
pub fn fixture_model(name: &str) -> Model {
    block_on(golden::model(name, &Device::flex()))
}

/// The bundled model; `None` if `test` is skipped.
pub fn bundled_model(test: &str) -> Option<Model> {
    open_bundled(test).as_ref().map(load)
}

fn load(files: &ModelFiles) -> Model {
    block_on(Model::load(files, &Device::flex(), async |_| ())).unwrap()
}
