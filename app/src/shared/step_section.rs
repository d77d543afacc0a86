use leptos::prelude::*;

use super::notices::Notices;
use crate::state::Step;

/// One of the five steps: its heading, a sentence, its failures and its content.
#[component]
pub fn StepSection(step: Step, lead: &'static str, children: Children) -> impl IntoView {
    let number = Step::ALL
        .iter()
        .position(|&known| known == step)
        .map_or(0, |index| index + 1);
    let heading = format!("{}-heading", step.anchor());
    let heading_id = heading.clone();
    view! {
        <section id=step.anchor() class="step" aria-labelledby=heading>
            <div class="step-head">
                <span class="step-number" aria-hidden="true">{number}</span>
                <h2 id=heading_id>{step.title()}</h2>
                <p class="step-lead">{lead}</p>
            </div>
            <Notices step />
            {children()}
        </section>
    }
}
