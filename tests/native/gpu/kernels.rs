//! Every kernel in both precisions.

use futures_executor::block_on;
use protocol::Precision;

use crate::{
    device::{adapter, adapter_with_halves},
    kernels::{self, Numbers},
};

mod single {
    use super::*;

    macro_rules! test {
        ($module:ident, $name:ident) => {
            #[test]
            fn $name() {
                if adapter(stringify!($name)).is_some() {
                    block_on(kernels::$module::$name(Numbers(Precision::Single)));
                }
            }
        };
    }
    crate::for_each_kernel_check!(test);
}

mod half {
    use super::*;

    macro_rules! test {
        ($module:ident, $name:ident) => {
            #[test]
            fn $name() {
                if adapter_with_halves(concat!("half::", stringify!($name))).is_some() {
                    block_on(kernels::$module::$name(Numbers(Precision::Half)));
                }
            }
        };
    }
    crate::for_each_kernel_check!(test);
}
