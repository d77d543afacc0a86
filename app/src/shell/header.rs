use leptos::prelude::*;

use super::run_status::RunStatus;
use super::theme_toggle::ThemeToggle;

/// Name, status and theme; stays in view.
#[component]
pub fn Header() -> impl IntoView {
    view! {
        <header class="header">
            <a class="brand" href="#steps">
                <svg class="brand-mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
                    <rect class="brand-base" x="1" y="1" width="22" height="22" rx="5" />
                    <rect class="brand-inlay" x="8" y="8" width="8" height="8" rx="1.5" transform="rotate(45 12 12)" />
                </svg>
                "Inlay"
            </a>
            <RunStatus />
            <ThemeToggle />
        </header>
    }
}
