//! The adapters at hand: those of runs, those that were loaded, and blends of them.

use std::{collections::BTreeSet, rc::Rc};

use protocol::{
    AdapterCopy, AdapterId, AdapterList, AdapterOrigin, AdapterSummary, ExportKind, Failure,
    FailureKind, ModelSummary, RecipeAdapter,
};

use super::{model::LoadedModel, run::offers};
use crate::{
    adapter::{AdapterForm, DeviceAdapter, ModelShape, NotLowRank},
    export::{self, merged},
    import::AdapterFiles,
    template::ChatTemplate,
    train::session::TrainedAdapter,
    weights::checkpoint::NamedSource,
};

/// Weights of a blend; the first digits that matter are well within.
const MAX_WEIGHT: f64 = 100.0;
/// Adapters are small, but a tab's memory is no attic.
const MAX_KEPT: usize = 16;

pub struct KeptAdapter {
    pub id: AdapterId,
    pub name: String,
    pub origin: AdapterOrigin,
    /// The model that it is for.
    model_sha256: String,
    pub adapter: Rc<TrainedAdapter>,
}

/// See the module.
#[derive(Default)]
pub struct Adapters {
    list: Vec<KeptAdapter>,
    active: Option<AdapterId>,
    num_kept: u64,
}

impl KeptAdapter {
    /// On the device of its model.
    pub fn upload(&self, model: &LoadedModel) -> DeviceAdapter {
        let TrainedAdapter { form, parameters } = &*self.adapter;
        form.upload(parameters, &model.llama)
    }

    /// The number of learned tokens that it adds before every prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.adapter.form.layout.spec.prompt_tokens()
    }

    /// What a recipe says of it.
    ///
    /// # Errors
    /// None that an adapter of a layout would meet.
    pub fn recipe(&self) -> Result<RecipeAdapter, Failure> {
        let TrainedAdapter { form, parameters } = &*self.adapter;
        Ok(RecipeAdapter {
            name: self.name.clone(),
            sha256: export::adapter_sha256(&form.tensors(parameters))?,
        })
    }

    /// What goes with its zip to a later worker.
    pub fn copy(&self) -> AdapterCopy {
        AdapterCopy {
            id: self.id,
            name: self.name.clone(),
            origin: self.origin.clone(),
            model_sha256: self.model_sha256.clone(),
        }
    }

    /// A zip in that form, of an adapter of `model`'s; for PEFT of the adapter alone.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn zip(&self, kind: ExportKind, model: &LoadedModel) -> Result<Vec<u8>, Failure> {
        let TrainedAdapter { form, parameters } = &*self.adapter;
        let shape = ModelShape::from(&model.summary);
        let base = export::base_model(&model.summary);
        Ok(match kind {
            ExportKind::Peft => {
                let template = model.template.as_ref().map(ChatTemplate::source);
                export::peft_zip(form, parameters, &shape, base, template)?
            }
            ExportKind::Gguf => {
                let name = model.summary.name.as_str();
                export::gguf_zip(form, parameters, &shape, name)?
            }
            ExportKind::Mlx => export::mlx_zip(form, parameters, &shape, base)?,
        })
    }
}

impl Adapters {
    /// Keeps an adapter of the loaded model and makes it the tuned model's.
    pub fn keep(
        &mut self,
        name: String,
        origin: AdapterOrigin,
        adapter: Rc<TrainedAdapter>,
        model: &ModelSummary,
    ) {
        self.num_kept += 1;
        let id = AdapterId(self.num_kept);
        let name = self.unlike(name);
        self.list.push(KeptAdapter {
            id,
            name,
            origin,
            model_sha256: model.sha256.clone(),
            adapter,
        });
        self.active = Some(id);
    }

    /// The name, with a number after it if another adapter has that name: PEFT gives all its files the same one.
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
    pub fn check_room(&self) -> Result<(), Failure> {
        if self.list.len() < MAX_KEPT {
            return Ok(());
        }
        let what = format!("There are already {} adapters.", self.list.len());
        Err(Failure::new(FailureKind::WrongState, what).remedy("Remove one of them first."))
    }

    /// Loads one from files, and gives what the user is told of it; what is there stays.
    ///
    /// # Errors
    /// Every reason why it does not fit the model.
    pub async fn load(
        &mut self,
        files: Vec<NamedSource>,
        model: &LoadedModel,
    ) -> Result<Vec<String>, Failure> {
        self.check_room()?;
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

    /// Takes those again that an earlier worker had, each in the zip at its place; new ones get ids above `highest`.
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
                Ok(read) => self.list.push(KeptAdapter {
                    id: copy.id,
                    name: copy.name,
                    origin: copy.origin,
                    model_sha256: copy.model_sha256,
                    adapter: read.adapter,
                }),
                Err(failure) => outcome = Err(failure),
            }
        }
        self.list.sort_by_key(|kept| kept.id);
        outcome
    }

    /// Makes a new one of others, each times its weight.
    ///
    /// # Errors
    /// [`FailureKind::Settings`] with every reason.
    pub fn blend(
        &mut self,
        parts: Vec<(AdapterId, f64)>,
        model: &LoadedModel,
    ) -> Result<(), Failure> {
        self.check_room()?;
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

    /// Makes another one the tuned model's.
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
    pub fn settle(&mut self, model: &ModelSummary) {
        let is_there = |id: &AdapterId| self.of(model).any(|kept| kept.id == *id);
        if !self.active.as_ref().is_some_and(is_there) {
            self.active = self.of(model).last().map(|kept| kept.id);
        }
    }

    /// The one that was kept last.
    pub fn newest(&self) -> Option<&KeptAdapter> {
        self.list.last()
    }

    fn of(&self, model: &ModelSummary) -> impl Iterator<Item = &KeptAdapter> {
        let list = self.list.iter();
        list.filter(|kept| kept.model_sha256 == model.sha256)
    }

    /// The adapter of that id.
    ///
    /// # Errors
    /// [`FailureKind::WrongState`] where it is not there, or for another model.
    pub fn get(&self, id: AdapterId, model: &ModelSummary) -> Result<&KeptAdapter, Failure> {
        self.of(model).find(|kept| kept.id == id).ok_or_else(|| {
            Failure::new(FailureKind::WrongState, "That adapter is no longer here.")
                .remedy("Choose another one, or load it again.")
        })
    }

    /// What the page shows.
    pub fn summary(&self, model: &ModelSummary) -> AdapterList {
        let adapters = self.of(model).map(|kept| {
            let layout = &kept.adapter.form.layout;
            AdapterSummary {
                id: kept.id,
                name: kept.name.clone(),
                origin: kept.origin.clone(),
                spec: layout.spec.clone(),
                trainable_parameters: layout.num_parameters as u64,
                exports: offers(layout),
                merge_refusal: merged::refusal(&layout.spec).map(|reason| reason.to_string()),
                blend_refusal: NotLowRank::of(&layout.spec).map(|reason| reason.to_string()),
            }
        });
        AdapterList {
            adapters: adapters.collect(),
            active: self.active,
        }
    }
}

/// An adapter that was read from files.
struct Read {
    name: String,
    /// `base_model_name_or_path`
    base: Option<String>,
    unused_files: Vec<String>,
    adapter: Rc<TrainedAdapter>,
}

impl Read {
    async fn of(files: Vec<NamedSource>, model: &LoadedModel) -> Result<Self, Failure> {
        let files = AdapterFiles::open(files, &(&model.summary).into()).await?;
        let (name, base) = (files.name.clone(), files.base.clone());
        let unused_files = files.unused_files.clone();
        let (form, parameters) = files.form(&model.llama).await?;
        Ok(Self {
            name,
            base,
            unused_files,
            adapter: Rc::new(TrainedAdapter { form, parameters }),
        })
    }
}

pub fn no_adapter() -> Failure {
    Failure::new(FailureKind::WrongState, "There is no trained adapter yet.")
        .remedy("Train first, or load an adapter; a stopped run counts too.")
}

/// A word of warning where an adapter that fits was made for a model of another name.
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
