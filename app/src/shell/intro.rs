use leptos::prelude::*;

use super::marquetry::Marquetry;

/// What this is, and that nothing leaves the machine.
#[component]
pub fn Intro() -> impl IntoView {
    view! {
        <div class="intro">
            <div class="intro-words">
                <h1>"Teach a small language model from your own file."</h1>
                <p class="intro-lead">
                    "Drop a few examples, watch the model learn them, and take the adapter home. "
                    "It all happens in this tab, on this machine."
                </p>
            </div>
            <Marquetry />
            <details class="privacy">
                <summary>"Nothing leaves this machine"</summary>
                <p>
                    "The model, your data and the training stay in this tab; the page talks only to the server it came from. "
                    "To check, open the network panel of the browser\u{2019}s developer tools while you train: nothing is \
                     sent. Or go offline once the model is loaded, and train anyway."
                </p>
            </details>
        </div>
    }
}
