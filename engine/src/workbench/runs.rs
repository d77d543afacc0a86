//! The runs at hand: those trained here, adapters that were loaded, and blends of them.
//!
//! ```text
//! keep (a run ended) | load (files) | blend | restore (copies of a dead worker)  ->  list, oldest first
//! settle: the active adapter is one of the loaded model's, by default the newest
//! ```
//!
//! Runs of all models that were loaded stay in the list. Every look-up takes the loaded model and sees only its own
//! runs, so an adapter is never put on a model that it was not trained for.

use std::{collections::BTreeSet, rc::Rc};

use protocol::{
    AdapterCopy, AdapterId, AdapterList, AdapterOrigin, Failure, FailureKind, ModelSummary,
};

use super::{
    model::LoadedModel,
    run::{HeldOut, Run},
};
use crate::{
    adapter::{AdapterForm, NotLowRank},
    import::AdapterFiles,
    train::session::TrainedAdapter,
    weights::checkpoint::NamedSource,
};

/// Weights of a blend; the first digits that matter are well within.
///
/// A weight multiplies the product of an adapter: `y = W x + sum w_i s_i B_i A_i x`. 1 is the adapter unchanged, -1
/// takes away what it taught.
const MAX_WEIGHT: f64 = 100.0;
/// Adapters of one model: they are small, but a tab's memory is no attic.
///
/// The limit is for what the user adds (files and blends). A run that took hours is never refused at its end.
const MAX_KEPT: usize = 16;
/// Tokens of the rows that runs held out, 5 bytes each. Runs on the same split share theirs.
const MAX_HELD_OUT_TOKENS: usize = 1 << 23;

/// All runs that this worker holds, of every model that was loaded.
#[derive(Default)]
pub struct Runs {
    /// Ascending by id, of all models.
    list: Vec<Run>,
    /// The adapter that the tuned model uses; [`Self::settle`] corrects it when the model changes.
    active: Option<AdapterId>,
    /// The highest id given so far. Ids are never used twice, since the page holds copies by them.
    num_kept: u64,
}

impl Runs {
    /// Keeps an adapter of the loaded model and makes it the tuned model's.
    ///
    /// The name becomes unlike the others', and the id one above the highest so far. Its training is for the caller to
    /// add.
    pub fn keep(
        &mut self,
        name: String,
        origin: AdapterOrigin,
        adapter: Rc<TrainedAdapter>,
        model: &ModelSummary,
    ) -> &mut Run {
        self.num_kept += 1;
        let id = AdapterId(self.num_kept);
        let name = self.unlike(name);
        let sha256 = model.sha256.clone();
        self.active = Some(id);
        let run = Run::new(id, name, origin, sha256, adapter);
        self.list.push_mut(run)
    }

    /// Lets go of the rows that the oldest runs held out, where all runs together hold too many tokens. Such a run can no
    /// longer be scored; the newest keeps its rows in any case.
    pub fn release_rows(&mut self) {
        let mut splits: Vec<Rc<HeldOut>> = Vec::new();
        for training in self
            .list
            .iter()
            .rev()
            .filter_map(|run| run.training.as_ref())
        {
            if !splits.iter().any(|split| Rc::ptr_eq(split, &training.rows)) {
                splits.push(training.rows.clone());
            }
        }
        let num_tokens: Vec<usize> = splits.iter().map(|split| split.num_tokens()).collect();
        splits.truncate(num_held(&num_tokens));
        for training in self.list.iter_mut().filter_map(|run| run.training.as_mut()) {
            if !splits.iter().any(|split| Rc::ptr_eq(split, &training.rows)) {
                training.rows = Rc::new(training.rows.released());
            }
        }
    }

    /// Whether one came in, which is scored on the loaded rows.
    pub fn has_others(&self) -> bool {
        self.list.iter().any(Run::came_in)
    }

    /// The name, with a number after it if another adapter has that name: PEFT gives all its files the same one.
    ///
    /// ```text
    /// adapter_model.safetensors, adapter_model.safetensors (2), adapter_model.safetensors (3)
    /// ```
    fn unlike(&self, name: String) -> String {
        let is_free = |name: &String| self.list.iter().all(|kept| kept.name != *name);
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        names.find(is_free).unwrap_or_default()
    }

    /// Refuses one more where there are too many; a run's is kept in any case.
    ///
    /// # Errors
    /// [`FailureKind::WrongState`]
    pub fn check_room(&self, model: &ModelSummary) -> Result<(), Failure> {
        let num_kept = self.of(model).count();
        if num_kept < MAX_KEPT {
            return Ok(());
        }
        let what = format!("There are already {num_kept} adapters.");
        Err(Failure::new(FailureKind::WrongState, what).remedy("Remove one of them first."))
    }

    /// Loads an adapter from files and returns notes for the user; the other adapters stay.
    ///
    /// Notes say that the adapter names another base, and which files were not needed.
    ///
    /// # Errors
    /// Every reason why it does not fit the model.
    pub async fn load(
        &mut self,
        files: Vec<NamedSource>,
        model: &LoadedModel,
    ) -> Result<Vec<String>, Failure> {
        self.check_room(&model.summary)?;
        let read = Read::of(files, model).await?;
        let base = read.base.as_deref();
        let mut notes: Vec<String> = base
            .and_then(|base| other_base(base, &model.summary))
            .into_iter()
            .collect();
        if !read.unused_files.is_empty() {
            let files = read.unused_files.join(", ");
            notes.push(format!("Not needed for this adapter: {files}."));
        }
        self.keep(read.name, AdapterOrigin::File, read.adapter, &model.summary);
        Ok(notes)
    }

    /// Restores the adapters of an earlier worker, each from the zip at its place; new ones get ids above `highest`.
    ///
    /// Copies of another model, and those whose id is here already, are passed over. Only adapters come back: log,
    /// scores and recipe of a run are gone with its worker.
    ///
    /// # Errors
    /// If a copy cannot be read, the error of the last such copy; the others are restored.
    pub async fn restore(
        &mut self,
        copies: Vec<AdapterCopy>,
        files: Vec<NamedSource>,
        highest: AdapterId,
        model: &LoadedModel,
    ) -> Result<(), Failure> {
        self.num_kept = self.num_kept.max(highest.0);
        let mut outcome = Ok(());
        for (copy, file) in copies.into_iter().zip(files) {
            let is_there = self.list.iter().any(|kept| kept.id == copy.id);
            if is_there || copy.model_sha256 != model.summary.sha256 {
                continue;
            }
            match Read::of(vec![file], model).await {
                Ok(read) => self.list.push(Run::new(
                    copy.id,
                    copy.name,
                    copy.origin,
                    copy.model_sha256,
                    read.adapter,
                )),
                Err(failure) => outcome = Err(failure),
            }
        }
        self.list.sort_by_key(|kept| kept.id);
        outcome
    }

    /// Makes a new adapter from others, each times its weight.
    ///
    /// Its name tells the parts and weights: `0.5 × Run 1: LoRA + 0.5 × Run 2: LoRA`.
    ///
    /// # Errors
    /// [`FailureKind::Adapter`] for fewer than two different adapters, a weight out of range, or, all at once, parts
    /// that are not low-rank products alone; [`FailureKind::WrongState`] if there is no room or a part is gone.
    pub fn blend(
        &mut self,
        parts: Vec<(AdapterId, f64)>,
        model: &LoadedModel,
    ) -> Result<(), Failure> {
        self.check_room(&model.summary)?;
        let settings = |what: String| Failure::new(FailureKind::Adapter, what);
        let ids: BTreeSet<AdapterId> = parts.iter().map(|(id, _)| *id).collect();
        if parts.len() < 2 || ids.len() < parts.len() {
            return Err(
                settings("A blend needs at least two different adapters.".to_owned())
                    .remedy("Give at least two of them a weight."),
            );
        }
        let mut of = Vec::new();
        for &(id, weight) in &parts {
            let kept = self.get(id, &model.summary)?;
            if !weight.is_finite() || weight.abs() > MAX_WEIGHT {
                return Err(
                    settings(format!("{weight} is not a valid weight for {}.", kept.name))
                        .remedy("Weights go from -100 to 100; 1 is the adapter unchanged."),
                );
            }
            of.push((kept, weight));
        }
        let names: Vec<String> = of
            .iter()
            .map(|(kept, weight)| format!("{weight} \u{d7} {}", kept.name))
            .collect();
        let refused: Vec<String> = of
            .iter()
            .filter_map(|(kept, _)| {
                let reason = NotLowRank::of(&kept.adapter.form.layout.spec)?;
                Some(format!("{}: {reason}", kept.name))
            })
            .collect();
        if !refused.is_empty() {
            let what = format!("These cannot be blended: {}.", refused.join("; "));
            return Err(
                settings(what).remedy("Blend adapters that are low-rank products, such as LoRA.")
            );
        }
        let forms: Vec<_> = of
            .iter()
            .map(|(kept, weight)| {
                (
                    &kept.adapter.form,
                    kept.adapter.parameters.as_slice(),
                    *weight,
                )
            })
            .collect();
        let (form, parameters) = AdapterForm::blend(&forms, &(&model.summary).into())?;
        let adapter = Rc::new(TrainedAdapter { form, parameters });
        self.keep(
            names.join(" + "),
            AdapterOrigin::Blend(parts),
            adapter,
            &model.summary,
        );
        Ok(())
    }

    /// Makes another adapter the tuned model's.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn make_active(&mut self, id: AdapterId, model: &ModelSummary) -> Result<(), Failure> {
        self.get(id, model)?;
        self.active = Some(id);
        Ok(())
    }

    /// Drops one; the newest of the others takes its place.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn forget(&mut self, id: AdapterId, model: &ModelSummary) -> Result<(), Failure> {
        self.get(id, model)?;
        self.list.retain(|kept| kept.id != id);
        if self.active == Some(id) {
            self.active = None;
        }
        self.settle(model);
        Ok(())
    }

    /// Chooses the newest for the model where none is chosen, or one of another model.
    /// Called whenever the model or the list changes. Without any run of the model nothing is active, and the tuned
    /// model is the base.
    pub fn settle(&mut self, model: &ModelSummary) {
        let is_there = |id: &AdapterId| self.of(model).any(|kept| kept.id == *id);
        if !self.active.as_ref().is_some_and(is_there) {
            self.active = self.of(model).last().map(|kept| kept.id);
        }
    }

    /// The one that was kept last.
    /// In the order of ids, of whatever model; right after a run was kept, it is that run.
    pub fn newest(&self) -> Option<&Run> {
        self.list.last()
    }

    /// The runs of that model, oldest first.
    fn of(&self, model: &ModelSummary) -> impl Iterator<Item = &Run> {
        let list = self.list.iter();
        list.filter(|kept| kept.model_sha256 == model.sha256)
    }

    /// The adapter of that id.
    ///
    /// Runs of other models are as if they were not there.
    ///
    /// # Errors
    /// [`FailureKind::WrongState`] where it is not there, or for another model.
    pub fn get(&self, id: AdapterId, model: &ModelSummary) -> Result<&Run, Failure> {
        self.of(model).find(|kept| kept.id == id).ok_or_else(gone)
    }

    /// The one of that id, to add to it.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_mut(&mut self, id: AdapterId, model: &ModelSummary) -> Result<&mut Run, Failure> {
        let list = self.list.iter_mut();
        let mut of = list.filter(|run| run.model_sha256 == model.sha256);
        of.find(|run| run.id == id).ok_or_else(gone)
    }

    /// What the page shows; see [`Run::summary`].
    pub fn summary(&self, model: &ModelSummary, rows: Option<&HeldOut>) -> AdapterList {
        AdapterList {
            adapters: self.of(model).map(|run| run.summary(rows)).collect(),
            active: self.active,
        }
    }
}

/// An adapter that was read from files.
/// It fits the loaded model: the import has compared every tensor.
struct Read {
    /// The name of the weights' file, or of the archive; it becomes the run's.
    name: String,
    /// `base_model_name_or_path`
    base: Option<String>,
    /// Names of files that are no part of the adapter.
    unused_files: Vec<String>,
    adapter: Rc<TrainedAdapter>,
}

impl Read {
    /// Reads an adapter from files and checks it against the model.
    ///
    /// # Errors
    /// Every reason why it does not fit, or the device's failure while the base is read.
    async fn of(files: Vec<NamedSource>, model: &LoadedModel) -> Result<Self, Failure> {
        let files = AdapterFiles::open(files, &(&model.summary).into()).await?;
        let (name, base) = (files.name.clone(), files.base.clone());
        let unused_files = files.unused_files.clone();
        let (form, parameters) = files.form(&model.base).await?;
        Ok(Self {
            name,
            base,
            unused_files,
            adapter: Rc::new(TrainedAdapter { form, parameters }),
        })
    }
}

/// How many splits with these numbers of tokens, newest first, are held.
fn num_held(num_tokens: &[usize]) -> usize {
    let totals = num_tokens.iter().scan(0, |total, &num| {
        *total += num;
        Some(*total)
    });
    let held = totals.take_while(|&total| total <= MAX_HELD_OUT_TOKENS);
    held.count().max(1)
}

/// The failure of an id that no run of the loaded model has.
fn gone() -> Failure {
    Failure::new(FailureKind::WrongState, "That adapter is no longer here.")
        .remedy("Choose another one, or load it again.")
}

/// A word of warning where an adapter that fits was made for a model of another name.
///
/// Only the last part of a name is compared, since a hub id and a local folder differ in the rest:
/// `HuggingFaceTB/SmolLM2-135M` and `./models/smollm2-135m/` are the same.
fn other_base(base: &str, model: &ModelSummary) -> Option<String> {
    let known = model.base_model_name.as_deref().unwrap_or(&model.name);
    let last = |name: &str| {
        let end = name
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        end.to_ascii_lowercase()
    };
    (last(base) != last(known)).then(|| {
        format!("The adapter was made for {base}; {known} has the same shape, but its answers may be nonsense.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_splits_are_held() {
        let half = MAX_HELD_OUT_TOKENS / 2;
        assert_eq!(num_held(&[half, half, 0, 1, 0]), 3);
        assert_eq!(num_held(&[half, half + 1]), 1);
        // The newest in any case.
        assert_eq!(num_held(&[3 * half, 1]), 1);
    }
}
