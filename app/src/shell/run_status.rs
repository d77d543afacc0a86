use std::time::Duration;

use leptos::prelude::*;

use crate::state::status::{Activity, Status, status};
use crate::store::Store;

/// Details are announced at most this often, so that screen readers are not interrupted.
const DETAIL_INTERVAL: Duration = Duration::from_secs(1);

/// Shows what the page is doing, also for screen readers. A new activity is announced at once, its details once a
/// second.
#[component]
pub fn RunStatus() -> impl IntoView {
    let present = Store::get().select(status);
    let shown = RwSignal::new(present.get_untracked());
    let is_waiting = StoredValue::new(false);
    Effect::new(move |_| {
        let status = present.get();
        if status.activity != shown.with_untracked(|shown| shown.activity) {
            shown.set(status);
        } else if status != shown.get_untracked() && !is_waiting.get_value() {
            is_waiting.set_value(true);
            set_timeout(
                move || {
                    is_waiting.set_value(false);
                    shown.set(present.get_untracked());
                },
                DETAIL_INTERVAL,
            );
        }
    });
    view! {
        <p class="run-status" data-mood=move || shown.with(|shown| mood(shown.activity))>
            <span class="run-status-dot" aria-hidden="true"></span>
            <span role="status" aria-label="Run status" class="run-status-text">
                {move || shown.with(Status::text)}
            </span>
        </p>
    }
}

fn mood(activity: Activity) -> &'static str {
    match activity {
        Activity::Failed => "bad",
        Activity::Finished | Activity::Ready => "good",
        activity if activity.is_busy() => "busy",
        _ => "calm",
    }
}
