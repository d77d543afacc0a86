//! Keeps a run responsive: at every block boundary messages arrive, a pause waits, a stop ends the pass, and the device
//! is awaited now and then, so that its queue never grows long.
//!
//! A GPU takes commands as fast as they are recorded, so without a wait a whole step could be queued before a stop is
//! heard. To wait is to read one number of the newest block (a fence), which costs a round trip. So the time of a block
//! is measured from fence to fence, and the next fence comes when about 40 ms of work are queued:
//!
//! ```text
//! block block block block fence   block block block block fence
//! |----- blocks * millis_per_block >= 40 -----|
//! ```
//!
//! On the CPU a block is computed when it is called, and a fence waits for nothing.

use std::cell::Cell;

use burn::tensor::Tensor;
use protocol::RunState;

use crate::{
    surroundings::{Control, Surroundings},
    tensor::{DeviceLost, read_all},
};

/// How much work may be queued for the device: long enough to hide the wait, short enough not to be noticed.
const MAX_QUEUED_MILLIS: f64 = 40.0;
/// How often a paused run checks whether to resume.
const PAUSE_POLL_MILLIS: u32 = 20;

/// Why work ended early.
#[derive(Debug, Clone, PartialEq)]
pub enum Interruption<E = DeviceLost> {
    /// The user stopped the run.
    Stopped,
    /// The work failed.
    Failed(E),
}

impl<E> Interruption<E> {
    /// The same, with the error in a wider type.
    pub fn widen<F: From<E>>(self) -> Interruption<F> {
        match self {
            Self::Stopped => Interruption::Stopped,
            Self::Failed(error) => Interruption::Failed(error.into()),
        }
    }
}

impl<E> From<E> for Interruption<E> {
    fn from(error: E) -> Self {
        Self::Failed(error)
    }
}

/// The rhythm of one run. It is shared by reference, so its state is in cells.
pub struct Pacing<'a> {
    surroundings: &'a dyn Surroundings,
    /// What the run does when it is not paused; reported again after a pause.
    state: Cell<RunState>,
    /// A stop is obeyed only if it has not been answered yet.
    heeds_stop: Cell<bool>,
    /// How long a block took from the last fence but one to the last; infinite before the first.
    millis_per_block: Cell<f64>,
    /// Block boundaries since the last fence: what may still be queued.
    blocks_since_fence: Cell<u32>,
    /// When the device was last awaited, or a pause ended.
    last_fence_millis: Cell<f64>,
    /// How long the run has been paused in all.
    paused_millis: Cell<f64>,
}

impl<'a> Pacing<'a> {
    /// Begins a run in the state of preparing, which is not reported; every block is awaited until the first fence.
    pub fn new(surroundings: &'a dyn Surroundings) -> Self {
        Self {
            surroundings,
            state: Cell::new(RunState::Preparing),
            heeds_stop: Cell::new(true),
            // Until the first measurement every block is awaited.
            millis_per_block: Cell::new(f64::INFINITY),
            blocks_since_fence: Cell::new(0),
            last_fence_millis: Cell::new(surroundings.now_millis()),
            paused_millis: Cell::new(0.0),
        }
    }

    /// Reports what the run does from now on, and again after each pause.
    pub fn enter(&self, state: RunState) {
        self.state.set(state);
        self.surroundings.entered(state);
    }

    /// Reports that `done` of `total` rows or other parts are done.
    pub fn progressed(&self, done: usize, total: usize) {
        self.surroundings.progressed(done as u64, total as u64);
    }

    /// Makes a stop no longer interrupt, since it has been received: what follows ends the run in order.
    pub fn ignore_stop(&self) {
        self.heeds_stop.set(false);
    }

    /// Returns the time without pauses, in milliseconds from an arbitrary start.
    pub fn active_millis(&self) -> f64 {
        self.surroundings.now_millis() - self.paused_millis.get()
    }

    /// Marks a block boundary: awaits the device if enough is queued, then lets messages arrive.
    ///
    /// # Shapes
    /// - `witness`: `[n, ..]`, what the block computed; one number of it is read at a fence
    ///
    /// # Errors
    /// [`Interruption::Stopped`] after a stop, [`Interruption::Failed`] if the device failed.
    pub async fn boundary(&self, witness: &Tensor<2>) -> Result<(), Interruption> {
        self.blocks_since_fence
            .set(self.blocks_since_fence.get() + 1);
        let queued = f64::from(self.blocks_since_fence.get());
        if queued * self.millis_per_block.get() >= MAX_QUEUED_MILLIS {
            read_all(witness.clone().slice([0..1, 0..1])).await?;
            let now = self.surroundings.now_millis();
            self.millis_per_block
                .set((now - self.last_fence_millis.get()) / queued);
            self.last_fence_millis.set(now);
            self.blocks_since_fence.set(0);
        }
        self.breathe().await
    }

    /// Lets messages arrive and obeys them: waits out a pause, and then looks for a stop, which may have ended it.
    ///
    /// # Errors
    /// [`Interruption::Stopped`] after a stop.
    pub async fn breathe(&self) -> Result<(), Interruption> {
        self.surroundings.yield_now().await;
        if self.surroundings.control() == Control::Pause {
            self.wait_while_paused().await;
        }
        match self.surroundings.control() {
            Control::Stop if self.heeds_stop.get() => Err(Interruption::Stopped),
            _ => Ok(()),
        }
    }

    /// Reports the pause, waits until it ends, and takes its duration out of all measurements.
    async fn wait_while_paused(&self) {
        let since = self.surroundings.now_millis();
        self.surroundings.entered(RunState::Paused);
        while self.surroundings.control() == Control::Pause {
            self.surroundings.sleep(PAUSE_POLL_MILLIS).await;
        }
        let now = self.surroundings.now_millis();
        self.paused_millis
            .set(self.paused_millis.get() + now - since);
        // What was queued before has had the pause's time, which says nothing of the device's speed.
        self.blocks_since_fence.set(0);
        self.last_fence_millis.set(now);
        self.surroundings.entered(self.state.get());
    }
}
