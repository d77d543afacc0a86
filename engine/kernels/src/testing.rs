//! Code shared by the tests of the tensor side: fresh random inputs in every run, and references in f64.

use std::time::{SystemTime, UNIX_EPOCH};

use burn::tensor::{Device, Tensor, TensorData};

// Included by path, since the engine includes this file by path, too.
#[path = "testing/reference.rs"]
mod reference;

pub use reference::{Array, KINDS, Random};

impl Random {
    /// Draws from `INLAY_TEST_SEED` or, without it, from the clock. The output of a failing test includes the seed.
    pub fn new() -> Self {
        let given = std::env::var("INLAY_TEST_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_nanos() as u64
        });
        println!("INLAY_TEST_SEED={seed}");
        Self::from_seed(seed)
    }
}

impl<const D: usize> Array<D> {
    pub fn tensor(&self) -> Tensor<D> {
        let values: Vec<f32> = self.values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, self.shape), &Device::flex())
    }

    /// Like [`Array::assert_values_close`], and checks the shape.
    #[track_caller]
    pub fn assert_close(&self, what: &str, actual: Tensor<D>, tolerance: f64) {
        self.assert_values_close(what, &self.values_of(what, actual), tolerance);
    }

    /// Like [`Array::assert_values_within`], and checks the shape.
    #[track_caller]
    pub fn assert_within(&self, what: &str, actual: Tensor<D>, tolerance: f64) {
        self.assert_values_within(what, &self.values_of(what, actual), tolerance);
    }

    #[track_caller]
    fn values_of(&self, what: &str, actual: Tensor<D>) -> Vec<f32> {
        assert_eq!(actual.dims(), self.shape, "{what} has another shape");
        actual.into_data().try_into_vec().unwrap()
    }
}
