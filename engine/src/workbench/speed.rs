//! The speed of the device with the loaded model: measured once there is a model to plan a run for, corrected by runs.
//!
//! ```text
//! estimate = ratio * (what the shapes of the run make of one measured block and head)
//! ratio'   = ratio * seconds per step as measured / seconds per step as estimated
//! ```
//!
//! So what a measurement of a part cannot show (waiting, memory, other programs) is learned from whole steps.

use protocol::StepHistory;

use super::model::LoadedModel;
use crate::{
    data::{TokenSequence, prepare::Prepared},
    device::DeviceProfile,
    host::Host,
    plan::{RowLengths, RunPlan, Speed, TimeEstimate},
    train::speed::measure,
};

/// The last measured speed, and the model that it was measured with. Another model needs another measurement.
#[derive(Debug, Default)]
pub struct KnownSpeed {
    /// Whose speed it is; empty before the first measurement.
    model_sha256: String,
    /// `None` if it could not be measured.
    speed: Option<Speed>,
}

impl KnownSpeed {
    /// The speed with that model; `None` if it was not measured, or with another model.
    pub fn of(&self, model: &LoadedModel) -> Option<Speed> {
        self.speed
            .filter(|_| self.model_sha256 == model.summary.sha256)
    }

    /// Measures the speed with `model` and keeps it in place of any other.
    ///
    /// A device that fails here says nothing about a run yet; the run will fail with its own message, and here the
    /// speed stays unknown. The next plan then measures again.
    pub async fn measure(
        &mut self,
        model: &LoadedModel,
        device: DeviceProfile,
        host: &dyn Host,
    ) -> Option<Speed> {
        let speed = measure(&model.base, device, host).await.ok().flatten();
        self.model_sha256 = model.summary.sha256.clone();
        self.speed = speed;
        speed
    }

    /// Learns from the steps of a run: the difference to the estimate goes into the next one. A run without steps, or
    /// with a model whose speed is unknown, changes nothing.
    pub fn learn(
        &mut self,
        plan: &RunPlan,
        model: &LoadedModel,
        prepared: &Prepared,
        steps: &StepHistory,
    ) {
        let Some((speed, millis)) = self.of(model).zip(steps.mean_millis()) else {
            return;
        };
        let taken = millis / 1000.0;
        let reckoned = estimate(plan, model, prepared, speed).step_secs;
        let ratio = speed.ratio * taken / reckoned;
        // A run of no measurable duration would make every later estimate zero or infinite.
        if ratio.is_finite() && ratio > 0.0 {
            self.speed = Some(Speed { ratio, ..speed });
        }
    }
}

/// The duration of the run at that speed; see [`TimeEstimate`].
pub fn estimate(
    plan: &RunPlan,
    model: &LoadedModel,
    prepared: &Prepared,
    speed: Speed,
) -> TimeEstimate {
    let length = |row: &TokenSequence| row.ids.len();
    let lengths = RowLengths::new(
        prepared.train.iter().map(length).collect(),
        prepared.validation.iter().map(length).sum(),
    );
    TimeEstimate::new(plan, &model.summary, &prepared.summary, &lengths, speed)
}
