//! Tests of the self-test, which decides whether a device is trusted.

use burn::tensor::Device;
use engine::self_test;
use futures_executor::block_on;

use crate::common::host::ScriptedHost;

#[test]
fn the_cpu_passes_the_self_test() {
    let proven = block_on(self_test::run(&Device::flex(), &ScriptedHost::default())).unwrap();
    let cases = proven.cases;
    assert!(cases.len() >= 4);
    for case in cases {
        assert!(case.max_error > 0.0, "{} compared nothing", case.name);
        assert!(case.max_error < case.tolerance / 10.0, "{case:?}");
    }
}
