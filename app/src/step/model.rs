mod device_panel;
mod model_facts;

use leptos::prelude::*;
use protocol::NotKept;

use self::device_panel::DevicePanel;
use self::model_facts::ModelFacts;
use crate::shared::cancel::Cancel;
use crate::shared::file_input::FileInput;
use crate::shared::progress::Progress;
use crate::shared::step_section::StepSection;
use crate::state::Step;
use crate::state::slot::Loading;
use crate::store::{BUNDLED_NAME, Store};

/// Step 1: the base model and the processor that runs it.
#[component]
pub fn ModelStep() -> impl IntoView {
    let store = Store::get();
    let loading = store.select(|state| state.model.loading.clone());
    let not_kept = store.select(|state| state.not_kept);
    let ratio =
        Signal::derive(move || loading.with(|loading| loading.as_ref().and_then(Loading::ratio)));
    view! {
        <StepSection step=Step::Model lead="Start from the included small model, or bring your own.">
            <div class="choices">
                <div class="card choice">
                    <h3>{BUNDLED_NAME}</h3>
                    <p>"A small chat model that learns quickly on any computer. 98 MB"{move || not_kept.get().is_none().then_some(", kept in this browser after the first load")}"."</p>
                    <p class="not-kept" role="status" aria-label="Storage" hidden=move || not_kept.get().is_none()>
                        {move || not_kept.get().map(why_not_kept)}
                    </p>
                    <button type="button" class="button button-primary" on:click=move |_| store.load_bundled_model()>
                        "Use the bundled model"
                    </button>
                </div>
                <div class="card choice">
                    <h3>"Your own"</h3>
                    <p>"A Llama or Qwen model: one GGUF file, or safetensors with config.json and tokenizer.json."</p>
                    <FileInput id="model-files" label="Model files" folder_label="Model folder" hint="Choose, or drop anywhere"
                        on_files=move |files| store.take_chosen(files, Step::Model) />
                </div>
            </div>
            <div class="load-progress" hidden=move || loading.with(Option::is_none)>
                <Progress label="Progress of the model" ratio />
                <Cancel step=Step::Model label="Cancel loading the model" />
                <p class="quiet">{move || loading.with(|loading| loading.as_ref().map(|loading| loading.name.clone()))}</p>
            </div>
            <ModelFacts />
            <DevicePanel />
        </StepSection>
    }
}

/// Why the bundled model will be downloaded again, said once in the place of what is said of keeping it.
fn why_not_kept(reason: NotKept) -> &'static str {
    match reason {
        NotKept::NoStorage => {
            "This browser doesn't let the page keep files: the model is downloaded again next time."
        }
        NotKept::NoSpace => {
            "This browser has no room left to keep the model: it is downloaded again next time."
        }
    }
}
