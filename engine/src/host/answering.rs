//! Tells the page of an answer as it is written.

use protocol::{Event, GenerationId, Speaker};

use super::Host;
use crate::surroundings::{Cancel, Clock, Control, LocalFuture, Observer};

/// The surroundings of an answer in a worker: its text becomes events, and the page's stop reaches it.
pub struct Answering<'h> {
    pub host: &'h dyn Host,
    pub id: GenerationId,
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
