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
                    "Model, data and training stay in this tab; the page speaks to nobody but the place it came from. "
                    "To see that for yourself, open the browser\u{2019}s developer tools at the network panel while you \
                     train: nothing is sent. Or go offline once the model is loaded, and train all the same."
                </p>
            </details>
        </div>
    }
}
