//! Small line drawings next to words; they add nothing that the words do not say.

use leptos::prelude::*;

/// A 16 x 16 drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyph {
    Check,
    Alert,
    Close,
    Sun,
    Moon,
    System,
    Upload,
}

impl Glyph {
    fn path(self) -> &'static str {
        match self {
            Self::Check => "M3 8.5l3.2 3.2L13 4.8",
            Self::Alert => "M8 2.2l6.3 11.1H1.7zM8 6.4v3.4M8 11.6v.2",
            Self::Close => "M4 4l8 8M12 4l-8 8",
            Self::Sun => {
                "M8 5.2a2.8 2.8 0 100 5.6 2.8 2.8 0 000-5.6zM8 1.4v1.5M8 13.1v1.5M1.4 8h1.5M13.1 8h1.5M3.3 3.3l1.1 1.1M11.6 11.6l1.1 1.1M3.3 12.7l1.1-1.1M11.6 4.4l1.1-1.1"
            }
            Self::Moon => "M13.2 9.6A5.6 5.6 0 016.4 2.8a5.6 5.6 0 106.8 6.8z",
            Self::System => "M2 3.2h12v7.6H2zM5.6 13.4h4.8",
            Self::Upload => "M8 10.4V2.6M4.9 5.5L8 2.4l3.1 3.1M2.6 10.6v2.8h10.8v-2.8",
        }
    }
}

#[component]
pub fn Icon(glyph: Glyph) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
            <path d=glyph.path() />
        </svg>
    }
}
