//! Checks that a device computes correctly.
//!
//! A browser logs a rejected shader and continues with stale memory; a faulty driver silently returns wrong numbers. So
//! before a device is used, our kernels run on it once with the shapes of a real model, and their results are compared
//! with plain f64 sums.
//!
//! ```text
//! GPU   time each variant of the kernels -> fastest first: all cases in 32 bits? next one if not
//!       -> has halves? -> all cases in 16 bits? -> a tenth faster? -> Precision::Half
//! CPU   all cases in 32 bits
//! ```
//!
//! | file | what |
//! |---|---|
//! | `cases` | the cases, their references and the tolerances |
//! | `calibration` | the speed of variants and precisions, on a GPU |
//!
//! A device that fails is not used; the page then loads the next simpler build of the engine and names the case.

#[cfg(feature = "gpu")]
mod calibration;
mod cases;

use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::tensor::FloatDType;
use protocol::{DeviceProblem, Precision, SelfTestCase};

use self::cases::run_cases;
use crate::surroundings::Clock;
#[cfg(feature = "gpu")]
use kernels::Variant;

/// The findings about a usable device.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    /// The cases that ran, all of them passed; those in halves only if halves are used.
    pub cases: Vec<SelfTestCase>,
    /// The precision in which the blocks of a model are accurate and fastest.
    pub precision: Precision,
}

/// Runs every case; the first that fails ends the test. On a GPU, the variants of the kernels are tried from the
/// fastest on, and the first that passes every case is used from then on. Halves are chosen if the device has them,
/// every case passes in them, too, and they save time.
///
/// The choice of the variant (`Variant::prefer`) holds for all later kernels of this thread; it is taken back if none
/// passes. The failure told is that of the fastest variant.
///
/// # Errors
/// [`DeviceProblem::WrongResult`] with the case, [`DeviceProblem::InitFailed`] if a result cannot be read.
#[cfg(feature = "gpu")]
pub async fn run(device: &Device, clock: &dyn Clock) -> Result<Proven, DeviceProblem> {
    let mut problem = None;
    for variant in calibration::by_speed(device, clock).await? {
        Variant::prefer(Some(variant));
        match run_cases(device, clock, Precision::Single).await {
            Ok(mut cases) => {
                let precision = match halves(device, clock).await {
                    Some(passed) => {
                        cases.extend(passed);
                        Precision::Half
                    }
                    None => Precision::Single,
                };
                return Ok(Proven { cases, precision });
            }
            Err(failed) => problem = problem.or(Some(failed)),
        }
    }
    Variant::prefer(None);
    Err(problem.unwrap_or(DeviceProblem::InitFailed {
        message: "no kernel ran".to_owned(),
    }))
}

/// Runs every case; the first that fails ends the test.
///
/// # Errors
/// [`DeviceProblem::WrongResult`] with the case, [`DeviceProblem::InitFailed`] where a result cannot be read.
#[cfg(not(feature = "gpu"))]
pub async fn run(device: &Device, clock: &dyn Clock) -> Result<Proven, DeviceProblem> {
    let precision = Precision::Single;
    let cases = run_cases(device, clock, precision).await?;
    Ok(Proven { cases, precision })
}

/// Returns the cases in halves, if halves should be used. A device that fails one can still be used in single
/// precision.
#[cfg(feature = "gpu")]
async fn halves(device: &Device, clock: &dyn Clock) -> Option<Vec<SelfTestCase>> {
    if !device.supports_dtype(FloatDType::F16) {
        return None;
    }
    let passed = run_cases(device, clock, Precision::Half).await.ok()?;
    let are_faster = calibration::halves_are_faster(device, clock).await;
    are_faster.ok()?.then_some(passed)
}
