//! Whether a device computes what it should.
//!
//! A browser logs a shader that it rejects and goes on with stale memory; a faulty driver gives wrong numbers without a
//! word. So before a device is used, our kernels run on it once at the shapes of a real model, and their results are
//! compared with plain f64 sums.

#[cfg(feature = "gpu")]
mod calibration;
mod cases;

use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::tensor::FloatDType;

use self::cases::run_cases;
use crate::{
    host::Host,
    protocol::{DeviceProblem, Precision, SelfTestCase},
};
#[cfg(feature = "gpu")]
use kernels::Variant;

/// What a device that may be used was found to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    /// All of them passed.
    pub cases: Vec<SelfTestCase>,
    /// In which the blocks of a model are right and fastest.
    pub precision: Precision,
}

/// Runs every case; the first that fails ends the test. On a GPU the kernels' variants are tried from the fastest on, and
/// the first that passes every case is the one in use from then on. Halves are chosen where the device has them, every
/// case passes in them too, and they save time.
///
/// # Errors
/// [`DeviceProblem::WrongResult`] with the case, [`DeviceProblem::InitFailed`] where a result cannot be read.
#[cfg(feature = "gpu")]
pub async fn run(device: &Device, host: &dyn Host) -> Result<Proven, DeviceProblem> {
    let mut problem = None;
    for variant in calibration::by_speed(device, host).await? {
        Variant::prefer(Some(variant));
        match run_cases(device, host, Precision::Single).await {
            Ok(mut cases) => {
                let precision = match halves(device, host).await {
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
pub async fn run(device: &Device, host: &dyn Host) -> Result<Proven, DeviceProblem> {
    let precision = Precision::Single;
    let cases = run_cases(device, host, precision).await?;
    Ok(Proven { cases, precision })
}

/// The cases in halves, if these are to be used. A device that fails one is still good for single precision.
#[cfg(feature = "gpu")]
async fn halves(device: &Device, host: &dyn Host) -> Option<Vec<SelfTestCase>> {
    if !device.supports_dtype(FloatDType::F16) {
        return None;
    }
    let passed = run_cases(device, host, Precision::Half).await.ok()?;
    let are_faster = calibration::halves_are_faster(device, host).await;
    are_faster.ok()?.then_some(passed)
}
