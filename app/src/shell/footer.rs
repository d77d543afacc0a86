use leptos::prelude::*;

#[component]
pub fn Footer() -> impl IntoView {
    view! {
        <footer class="footer">
            <p>"Inlay " {env!("CARGO_PKG_VERSION")} " · MIT or Apache-2.0 · nothing leaves this machine"</p>
            <p>"Bundled model: SmolLM2-135M-Instruct by Hugging Face, Apache-2.0"</p>
        </footer>
    }
}
