//! The program's static constructors, in which CubeCL's compiler registers its operations.

unsafe extern "C" {
    /// Made by the linker: runs every constructor.
    fn __wasm_call_ctors();
}

/// Runs the constructors. To be called once, before a device is opened.
///
/// In a program that does not call them itself, the linker puts them before *every* exported function (it takes the
/// module for a command that is started anew by each call), even before those that pass a JavaScript object in or out.
/// With CubeCL's hundreds of constructors that made a training step on WebGPU more than ten times as long.
pub fn run_constructors() {
    // SAFETY: nothing is passed in or out, and a constructor that already ran does nothing.
    unsafe { __wasm_call_ctors() }
}
