//! Copies of the adapters, held by the page: a restarted engine gets them, and so has the same adapters as the last
//! one.

use std::collections::BTreeSet;

use protocol::{AdapterCopy, AdapterId, AdapterList, Command};

/// The copies. `Zip` is the content of a file: a browser's blob, except in tests.
pub struct Copies<Zip> {
    copies: Vec<(AdapterCopy, Zip)>,
    /// The adapters that the current worker has.
    present: BTreeSet<AdapterId>,
    /// The adapter that the tuned model last used.
    active: Option<AdapterId>,
    highest: AdapterId,
    /// Whether the current worker was told which ids are taken.
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
    /// Keeps an adapter that the worker made.
    pub fn keep(&mut self, copy: AdapterCopy, zip: Zip) {
        self.highest = self.highest.max(copy.id);
        self.present.insert(copy.id);
        self.copies.push((copy, zip));
    }

    /// Takes out every copy, with its name.
    pub fn give_out(&mut self) -> Vec<(String, Zip)> {
        let copies = std::mem::take(&mut self.copies).into_iter();
        copies.map(|(copy, zip)| (copy.name, zip)).collect()
    }

    /// Drops an adapter that the user removed.
    pub fn forget(&mut self, id: AdapterId) {
        self.copies.retain(|(copy, _)| copy.id != id);
    }

    /// A worker without adapters lists none and chooses none.
    pub fn listed(&mut self, list: &AdapterList) {
        self.active = list.active.or(self.active);
    }

    /// The next worker begins without adapters.
    pub fn worker_ended(&mut self) {
        self.present.clear();
        self.is_told = false;
    }

    /// The command that gives a worker its missing adapters once their model is loaded, along with their zips; `None`
    /// if no adapters are missing.
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
