use leptos::prelude::*;

use crate::shared::switch::Switch;
use crate::state::form::Form;
use crate::state::format::counted;
use crate::store::Store;

/// The start of the conversation: the system prompt, tools, and whether the chat template is used at all.
#[component]
pub fn ChatOpening() -> impl IntoView {
    let store = Store::get();
    let form = store.form;
    let has_template = store.select(|state| {
        let model = state.model.loaded.as_ref();
        model.is_none_or(|model| model.has_chat_template)
    });
    let is_unused = move || store.continues_text();
    let note = move || match (has_template.get(), is_unused()) {
        (false, _) => {
            "Not used: this model has no chat template, so it continues your text as it is."
        }
        (true, true) => "Not used: your text is continued as it is.",
        (true, false) if form.with(Form::has_system_prompt_of_data) => {
            "Taken from your data: most of its rows begin with it."
        }
        (true, false) => {
            "Sets the tone for the whole chat. Left empty, the chat template\u{2019}s own is used, if it has one."
        }
    };
    let num_tools = Memo::new(move |_| form.with(|form| form.tools().len()));
    let tools_note = move || {
        let tools = counted(num_tools.get() as u64, "tool");
        format!("{tools}, as in most rows of your data")
    };
    view! {
        <div class="field field-wide">
            <label for="system-prompt">"System prompt"</label>
            <textarea id="system-prompt" class="short" rows="2" aria-describedby="system-prompt-note"
                prop:disabled=is_unused
                prop:value=move || form.with(|form| form.system_prompt.clone())
                on:input=move |event| form.update(|form| form.system_prompt = event_target_value(&event))></textarea>
            <p id="system-prompt-note" class="field-note">{note}</p>
        </div>
        <div class="switches" hidden=move || !has_template.get()>
            <Switch label="Continue plain text" hint="Skips the chat template, as in training on plain text"
                get=|form| form.as_text set=|form, is_on| form.as_text = is_on />
            <div class="switch" hidden=move || num_tools.get() == 0>
                <input type="checkbox" id="offer-tools" aria-describedby="offer-tools-note"
                    prop:checked=move || form.with(|form| form.offers_tools)
                    on:change=move |event| form.update(|form| form.offers_tools = event_target_checked(&event)) />
                <label for="offer-tools">"Offer the dataset\u{2019}s tools"</label>
                <p class="field-note" id="offer-tools-note">{tools_note}</p>
            </div>
        </div>
    }
}
