//! Tells the page of an answer as it is written.

use protocol::{Event, GenerationId, Speaker};

use super::Host;
use crate::surroundings::{Cancel, Clock, Control, LocalFuture, Observer};

/// The surroundings of an answer in a worker: its text becomes events, and the page's stop reaches it.
///
/// Several answers may be under way for one request, one per conversation, so every event carries the request and the
/// speaker.
pub struct Answering<'h> {
    /// Where events go and the stop comes from.
    pub host: &'h dyn Host,
    /// The request that the answer belongs to; a stop ends all of its answers.
    pub id: GenerationId,
    /// Who answers: the base or one of the adapters.
    pub speaker: Speaker,
}

impl Observer for Answering<'_> {
    fn wrote(&self, text: String) {
        self.host.emit(Event::GenerationText {
            id: self.id,
            speaker: self.speaker,
            text,
        });
    }
}

/// A generation can be stopped but not paused.
impl Cancel for Answering<'_> {
    fn control(&self) -> Control {
        match self.host.is_stopped(self.id) {
            true => Control::Stop,
            false => Control::Run,
        }
    }
}

impl Clock for Answering<'_> {
    fn now_millis(&self) -> f64 {
        self.host.now_millis()
    }

    fn yield_now(&self) -> LocalFuture<'_, ()> {
        self.host.yield_now()
    }

    fn sleep(&self, millis: u32) -> LocalFuture<'_, ()> {
        self.host.sleep(millis)
    }
}
