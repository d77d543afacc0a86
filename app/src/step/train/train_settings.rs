use leptos::prelude::*;
use protocol::Group;

use super::start_from::StartFrom;
use crate::shared::control::{Controls, Switches};

/// All settings of a run, besides the model and the data.
#[component]
pub fn TrainSettings() -> impl IntoView {
    view! {
        <div class="settings">
            <fieldset>
                <legend>"Adapter"</legend>
                <div class="fields">
                    <StartFrom />
                    <Controls group=Group::Adapter />
                </div>
            </fieldset>
            <fieldset>
                <legend>"Schedule"</legend>
                <div class="fields"><Controls group=Group::Schedule /></div>
            </fieldset>
            <details class="disclosure">
                <summary>"More settings"</summary>
                <div class="fields"><Controls group=Group::More /></div>
                <Switches group=Group::More />
            </details>
        </div>
    }
}
