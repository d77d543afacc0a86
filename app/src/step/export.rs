mod destinations;
mod formats;
mod merged_models;
mod snippet;

use leptos::prelude::*;
use protocol::{AdapterOrigin, ExportFile, ExportKind};

use self::destinations::{DOWNLOAD_ADAPTER, Destinations};
use self::formats::formats;
use self::merged_models::MergedModels;
use self::snippet::Snippet;
use crate::shared::facts::Facts;
use crate::shared::step_section::StepSection;
use crate::state::format::{bytes, count, loss};
use crate::state::run::Adapter;
use crate::state::{ExportState, State, Step};
use crate::store::Store;

/// Step 5: one zip that PEFT loads.
#[component]
pub fn ExportStep() -> impl IntoView {
    let store = Store::get();
    let adapter = store.select(|state| state.active_adapter().cloned());
    let result = store.select(|state| run_of(state).cloned());
    let export = store.select(|state| state.export.clone());
    let is_exporting = store.select(State::is_exporting);
    let is_idle = move || adapter.with(Option::is_some) && !is_exporting.get();
    let note = move || match export.get() {
        ExportState::Packing => "Packing the zip.".to_owned(),
        ExportState::Merging { .. } => "Writing the merged model.".to_owned(),
        ExportState::Ready {
            file_name,
            bytes: size,
            memory_bytes,
        } => {
            let memory =
                memory_bytes.map(|memory| format!(" Writing it took {} of memory.", bytes(memory)));
            format!(
                "{file_name}, {}, is in your downloads.{}",
                bytes(size),
                memory.unwrap_or_default()
            )
        }
        ExportState::None if adapter.with(Option::is_none) => {
            "No adapter yet: finish a run, or load one in step 4.".to_owned()
        }
        ExportState::None => String::new(),
    };
    let download = move |kind| {
        if is_idle() {
            store.export(kind);
        }
    };
    // An adapter that came in has nothing that tells of a run.
    let is_of_run =
        Memo::new(move |_| adapter.with(Option::is_none) || result.with(Option::is_some));
    let contents = move || {
        let files = ExportFile::ALL.into_iter();
        let files = files.filter(|file| is_of_run.get() || !file.is_of_run());
        let item = |file: ExportFile| {
            view! { <li><span class="mono">{file.name()}</span><span>{about(file)}</span></li> }
        };
        files.map(item).collect_view()
    };
    view! {
        <StepSection step=Step::Export lead="One zip: the adapter, how it was made, and how good it is.">
            {move || result.get().map(facts)}
            <Destinations />
            <div class="run-controls">
                <button type="button" id=DOWNLOAD_ADAPTER class="button button-primary button-large"
                    aria-disabled=move || (!is_idle()).to_string() aria-describedby="export-note" on:click=move |_| download(ExportKind::Peft)>
                    "Download adapter"
                </button>
                <p id="export-note" class="run-note" aria-live="polite">{note}</p>
            </div>
            <div class="export-parts">
                <div class="card">
                    <h3>"In the zip"</h3>
                    <ul class="contents">{contents}</ul>
                </div>
                <Snippet title="Use it in Python" code=store.select(python) />
                <Show when=move || adapter.with(Option::is_some)>
                    <div class="card">
                        <h3>"Other runtimes"</h3>
                        <ul class="formats">
                            {move || adapter.get().map(|adapter| formats(adapter, is_idle, download))}
                        </ul>
                    </div>
                    <MergedModels />
                </Show>
            </div>
        </StepSection>
    }
}

fn about(file: ExportFile) -> &'static str {
    match file {
        ExportFile::Adapter => "what the model learned",
        ExportFile::AdapterConfig => "how PEFT reads it",
        ExportFile::Readme => "the losses, and code to copy",
        ExportFile::Recipe => "everything to repeat the run",
        ExportFile::Log => "every step\u{2019}s numbers",
        ExportFile::Evaluation => "held-out loss before and after",
        ExportFile::HeldOut => "the held-out rows, to measure that loss again",
        ExportFile::ChatTemplate => "the format of prompts, if the model has one",
    }
}

/// The run that left the tuned model's adapter.
fn run_of(state: &State) -> Option<&Adapter> {
    let origin = &state.active_adapter()?.origin;
    let mut trained = state.trained.iter();
    trained.find(|trained| *origin == AdapterOrigin::Run(trained.run))
}

fn facts(Adapter { summary, .. }: Adapter) -> impl IntoView {
    let mut facts = vec![
        (
            "Best checkpoint",
            format!(
                "step {} of {}",
                count(summary.best_step),
                count(summary.steps)
            ),
        ),
        ("Trained parameters", count(summary.trainable_parameters)),
    ];
    facts.extend(
        summary
            .base_validation_loss
            .map(|base| ("Held-out loss, base", loss(base))),
    );
    facts.extend(
        summary
            .tuned_validation_loss
            .map(|tuned| ("Held-out loss, tuned", loss(tuned))),
    );
    view! { <Facts facts /> }
}

/// Code that loads the adapter; the base is the loaded model's, where it names one.
fn python(state: &State) -> String {
    let named = state
        .model
        .loaded
        .as_ref()
        .and_then(|model| model.base_model_name.clone());
    let base = named.unwrap_or_else(|| "HuggingFaceTB/SmolLM2-135M-Instruct".to_owned());
    format!(
        "from peft import PeftModel\n\
         from transformers import AutoModelForCausalLM\n\
         from transformers import AutoTokenizer\n\n\
         base = \"{base}\"\n\
         folder = \"path/to/the/unzipped/folder\"\n\
         tokenizer = AutoTokenizer.from_pretrained(base)\n\
         model = AutoModelForCausalLM.from_pretrained(base)\n\
         model = PeftModel.from_pretrained(model, folder)\n"
    )
}
