use leptos::prelude::*;
use protocol::{AdapterSummary, ExportKind, ExportOffer};

use super::destinations::{DOWNLOAD_GGUF, DOWNLOAD_MLX};
use crate::state::format::bytes;

/// Every form but the first, with what it is for, or why it cannot be had and what can instead.
pub fn formats(
    adapter: AdapterSummary,
    is_idle: impl Fn() -> bool + Copy + Send + Sync + 'static,
    download: impl Fn(ExportKind) + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let can_merge = adapter.merge_refusal.is_none();
    let format = move |offer: ExportOffer| {
        let (label, id, note, purpose, merged) = match offer.kind {
            ExportKind::Peft => return None,
            ExportKind::Gguf => (
                "Download GGUF adapter",
                DOWNLOAD_GGUF,
                "gguf-note",
                "For llama.cpp, next to the base model",
                "a merged GGUF",
            ),
            ExportKind::Mlx => (
                "Download MLX adapter",
                DOWNLOAD_MLX,
                "mlx-note",
                "For mlx-lm on a Mac",
                "a merged model",
            ),
        };
        let is_refused = offer.refusal.is_some();
        let what = match offer.refusal {
            Some(why) if can_merge => format!("{why}; {merged} can."),
            Some(why) => format!("{why}."),
            None => format!("{purpose}; {}", bytes(offer.num_bytes)),
        };
        Some(view! {
            <li>
                <button type="button" id=id class="button" aria-describedby=note
                    aria-disabled=move || (is_refused || !is_idle()).to_string()
                    on:click=move |_| if !is_refused { download(offer.kind) }>
                    {label}
                </button>
                <span id=note>{what}</span>
            </li>
        })
    };
    adapter
        .exports
        .into_iter()
        .filter_map(format)
        .collect_view()
}
