use leptos::prelude::*;

use crate::components::adapters::Adapters;
use crate::components::answers::Answers;
use crate::components::chat_log::ChatLog;
use crate::components::chat_opening::ChatOpening;
use crate::components::composer::Composer;
use crate::components::field::FormField;
use crate::components::prompt_view::PromptView;
use crate::components::scores::Scores;
use crate::components::step_section::StepSection;
use crate::state::Step;
use crate::state::form::Field;

/// Step 4: a chat with the base model and with the adapters, side by side.
#[component]
pub fn TryPage() -> impl IntoView {
    view! {
        <StepSection step=Step::Try lead="One chat, answered side by side: before and after training.">
            <Adapters />
            <ChatOpening />
            <ChatLog />
            <Answers />
            <Composer />
            <details class="disclosure">
                <summary>"Sampling settings"</summary>
                <div class="fields">
                    {[Field::Temperature, Field::TopK, Field::TopP, Field::RepetitionPenalty, Field::Variation]
                        .map(|field| view! { <FormField field /> })
                        .collect_view()}
                </div>
            </details>
            <PromptView />
            <Scores />
        </StepSection>
    }
}
