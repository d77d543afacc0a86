//! Copies of the adapters at hand, in the page: with them an engine that is started anew has what the last one had.

use std::collections::BTreeSet;

use engine::protocol::{AdapterCopy, AdapterId, AdapterList, Command};

/// `Zip` is a file's content; the browser's blobs, outside of tests.
pub struct Copies<Zip> {
    copies: Vec<(AdapterCopy, Zip)>,
    /// Those that the present worker has.
    present: BTreeSet<AdapterId>,
    /// The one that the tuned model was last.
    active: Option<AdapterId>,
    highest: AdapterId,
    /// Whether the present worker was told which ids are taken.
    is_told: bool,
}

impl<Zip> Default for Copies<Zip> {
    fn default() -> Self {
        Self {
            copies: Vec::new(),
            present: BTreeSet::new(),
            active: None,
            highest: AdapterId(0),
            is_told: false,
        }
    }
}

impl<Zip: Clone> Copies<Zip> {
    /// The worker made one.
    pub fn keep(&mut self, copy: AdapterCopy, zip: Zip) {
        self.highest = self.highest.max(copy.id);
        self.present.insert(copy.id);
        self.copies.push((copy, zip));
    }

    /// The user wants it no longer.
    pub fn forget(&mut self, id: AdapterId) {
        self.copies.retain(|(copy, _)| copy.id != id);
    }

    /// A worker that has none yet lists none, and chooses none.
    pub fn listed(&mut self, list: &AdapterList) {
        self.active = list.active.or(self.active);
    }

    /// Whatever comes next begins with none.
    pub fn worker_ended(&mut self) {
        self.present.clear();
        self.is_told = false;
    }

    /// What the worker is to be told once that model is loaded, with the zips that ride beside it; nothing where it lacks
    /// none.
    pub fn due(&mut self, model_sha256: &str) -> Option<(Command, Vec<Zip>)> {
        let is_due = |copy: &AdapterCopy| {
            copy.model_sha256 == model_sha256 && !self.present.contains(&copy.id)
        };
        let due = self.copies.iter().filter(|(copy, _)| is_due(copy));
        let (copies, zips): (Vec<_>, Vec<_>) = due.cloned().unzip();
        let is_news = !self.is_told && self.highest > AdapterId(0);
        self.is_told = true;
        if copies.is_empty() && !is_news {
            return None;
        }
        self.present.extend(copies.iter().map(|copy| copy.id));
        let command = Command::RestoreAdapters {
            copies,
            active: self.active,
            highest: self.highest,
        };
        Some((command, zips))
    }
}
