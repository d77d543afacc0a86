use leptos::prelude::*;

use crate::browser::{page, storage};
use crate::shared::icon::{Glyph, Icon};

const KEY: &str = "inlay-theme";

/// Light, dark, or following the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theme {
    System,
    Light,
    Dark,
}

impl Theme {
    fn stored() -> Self {
        match storage::load(KEY).as_deref() {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::System,
        }
    }

    fn value(self) -> Option<&'static str> {
        match self {
            Self::System => None,
            Self::Light => Some("light"),
            Self::Dark => Some("dark"),
        }
    }

    fn next(self) -> Self {
        match self {
            Self::System => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::System,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::System => "Theme: system",
            Self::Light => "Theme: light",
            Self::Dark => "Theme: dark",
        }
    }

    fn glyph(self) -> Glyph {
        match self {
            Self::System => Glyph::System,
            Self::Light => Glyph::Sun,
            Self::Dark => Glyph::Moon,
        }
    }
}

/// Cycles through the three themes; the choice is remembered.
#[component]
pub fn ThemeToggle() -> impl IntoView {
    let theme = RwSignal::new(Theme::stored());
    Effect::new(move |_| page::set_theme(theme.get().value()));
    let advance = move |_| {
        theme.update(|theme| *theme = theme.next());
        storage::save(KEY, theme.get_untracked().value());
    };
    view! {
        <button type="button" class="theme-toggle" on:click=advance title=move || theme.get().label()
            aria-label=move || theme.get().label()>
            {move || view! { <Icon glyph=theme.get().glyph() /> }}
        </button>
    }
}
