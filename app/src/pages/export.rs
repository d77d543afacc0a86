use engine::protocol::{AdapterOrigin, AdapterSummary, ExportFile, ExportKind, ExportOffer};
use leptos::prelude::*;

use crate::components::destinations::{
    DOWNLOAD_ADAPTER, DOWNLOAD_GGUF, DOWNLOAD_MLX, Destinations,
};
use crate::components::merged_models::MergedModels;
use crate::components::model_facts::Facts;
use crate::components::snippet::Snippet;
use crate::components::step_section::StepSection;
use crate::state::format::{bytes, count, loss};
use crate::state::run::Adapter;
use crate::state::{ExportState, State, Step};
use crate::store::Store;

/// Step 5: one zip that PEFT loads.
#[component]
pub fn ExportPage() -> impl IntoView {
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
    // What tells of a run goes with the last run's adapter alone.
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

/// Every form but the first, with what it is for, or why it cannot be had and what can instead.
fn formats(
    adapter: AdapterSummary,
    is_idle: impl Fn() -> bool + Copy + Send + Sync + 'static,
    download: impl Fn(ExportKind) + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let can_merge = adapter.merge_refusal.is_none();
    let format = move |offer: ExportOffer| {
        let (label, id, note, purpose, merged) = match offer.kind {
            ExportKind::Peft => return None,
            ExportKind::Gguf => (
                "Download GGUF adapter",
                DOWNLOAD_GGUF,
                "gguf-note",
                "For llama.cpp, next to the base model",
                "a merged GGUF",
            ),
            ExportKind::Mlx => (
                "Download MLX adapter",
                DOWNLOAD_MLX,
                "mlx-note",
                "For mlx-lm on a Mac",
                "a merged model",
            ),
        };
        let is_refused = offer.refusal.is_some();
        let what = match offer.refusal {
            Some(why) if can_merge => format!("{why}; {merged} can."),
            Some(why) => format!("{why}."),
            None => format!("{purpose}; {}", bytes(offer.num_bytes)),
        };
        Some(view! {
            <li>
                <button type="button" id=id class="button" aria-describedby=note
                    aria-disabled=move || (is_refused || !is_idle()).to_string()
                    on:click=move |_| if !is_refused { download(offer.kind) }>
                    {label}
                </button>
                <span id=note>{what}</span>
            </li>
        })
    };
    adapter
        .exports
        .into_iter()
        .filter_map(format)
        .collect_view()
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
    let run = state.adapter.as_ref();
    run.filter(|run| *origin == AdapterOrigin::Run(run.run))
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
