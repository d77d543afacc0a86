//! Every kernel in single precision; `tests/native/gpu.rs` tests the halves, which no browser's software GPU supports.

use protocol::Precision;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::kernels::{self, Numbers};

macro_rules! test {
    ($module:ident, $name:ident) => {
        #[wasm_bindgen_test]
        async fn $name() {
            kernels::$module::$name(Numbers(Precision::Single)).await;
        }
    };
}
crate::for_each_kernel_check!(test);
