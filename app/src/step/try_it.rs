mod adapters;
mod answer;
mod answers;
mod chat_log;
mod chat_opening;
mod composer;
mod prompt_view;
mod scores;

use leptos::prelude::*;
use protocol::Group;

use self::adapters::Adapters;
use self::answers::Answers;
use self::chat_log::ChatLog;
use self::chat_opening::ChatOpening;
use self::composer::Composer;
use self::prompt_view::PromptView;
use self::scores::Scores;
use crate::shared::control::Controls;
use crate::shared::step_section::StepSection;
use crate::state::Step;

/// Step 4: a chat with the base model and with the adapters, side by side.
#[component]
pub fn TryStep() -> impl IntoView {
    view! {
        <StepSection step=Step::Try lead="One chat, answered side by side: before and after training.">
            <Adapters />
            <ChatOpening />
            <ChatLog />
            <Answers />
            <Composer />
            <details class="disclosure">
                <summary>"Sampling settings"</summary>
                <div class="fields"><Controls group=Group::Sampling /></div>
            </details>
            <PromptView />
            <Scores />
        </StepSection>
    }
}
