use leptos::prelude::*;
use protocol::{BatchPreview, BatchRow, BatchToken};

use super::batch_table::BatchTable;
use crate::state::format::{count, counted, loss, small};
use crate::store::Store;

/// The maximum number of rows shown, and of tokens in all of them together; the others are counted.
const MAX_ROWS: usize = 8;
const MAX_TOKENS: usize = 1500;

/// The rows of a run's first step with the loss of each token, and what the step changed.
#[component]
pub fn FirstBatch() -> impl IntoView {
    let batch = Store::get().select(|state| state.trials.first_batch.clone());
    move || batch.get().map(card)
}

fn card(batch: BatchPreview) -> impl IntoView {
    let about = format!(
        "{}, {} trained. One step at a learning rate of {} moved their mean loss from {} to {}; the gradient norm is {:.2}. The step is not kept.",
        counted(batch.rows.len() as u64, "row"),
        counted(batch.scored_tokens, "token"),
        small(batch.learning_rate),
        loss(batch.loss_before),
        loss(batch.loss_after),
        batch.grad_norm,
    );
    let more = batch.rows.len().saturating_sub(MAX_ROWS);
    let each = MAX_TOKENS / batch.rows.len().clamp(1, MAX_ROWS);
    let rows = batch.rows.into_iter().take(MAX_ROWS);
    let rows = rows.map(|of_batch| row(of_batch, each)).collect_view();
    view! {
        <section class="card token-card" aria-label="First batch">
            <div class="token-head">
                <h3>"First batch"</h3>
            </div>
            <p class="quiet">{about}</p>
            <p class="token-legend">
                <span class="token">"context only"</span>
                <span class="token loss-0">"loss below 0.5"</span>
                <span class="token loss-1">"below 2"</span>
                <span class="token loss-2">"below 4"</span>
                <span class="token loss-3">"4 and above"</span>
            </p>
            {rows}
            {(more > 0).then(|| view! { <p class="quiet">{format!("and {} more", counted(more as u64, "row"))}</p> })}
        </section>
    }
}

/// A row of the batch: its mean loss, and the first tokens.
fn row(row: BatchRow, most: usize) -> impl IntoView {
    let number = count(row.row as u64 + 1);
    let losses: Vec<f64> = row
        .tokens
        .iter()
        .filter_map(|token| token.loss)
        .map(f64::from)
        .collect();
    let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    let about = match losses.len() {
        0 => "no trained tokens".to_owned(),
        trained => format!(
            "{} trained, mean loss {}",
            counted(trained as u64, "token"),
            loss(mean)
        ),
    };
    let more = row.tokens.len().saturating_sub(most);
    let shown: Vec<BatchToken> = row.tokens.into_iter().take(most).collect();
    let tokens = shown.iter().cloned().map(token).collect_view();
    view! {
        <div class="batch-row">
            <h4>{format!("Row {number}")}<span class="quiet">{about}</span></h4>
            <div class="tokens" tabindex="0" role="region" aria-label=format!("Tokens of row {number} in the batch")>
                {tokens}
                {(more > 0).then(|| format!(" and {} more", count(more as u64)))}
            </div>
            <BatchTable number tokens=shown />
        </div>
    }
}

fn token(token: BatchToken) -> impl IntoView {
    let text = token.token.text.replace('\n', "\u{21b5}");
    let title = match token.loss {
        Some(loss) => format!("id {}, loss {loss:.3}", token.token.id),
        None => format!("id {}", token.token.id),
    };
    view! {
        <span class=format!("token {}", loss_class(token.loss)) class:is-special=token.token.is_special title=title>{text}</span>
    }
}

/// Four steps of color.
fn loss_class(loss: Option<f32>) -> &'static str {
    match loss {
        None => "",
        Some(loss) if loss < 0.5 => "loss-0",
        Some(loss) if loss < 2.0 => "loss-1",
        Some(loss) if loss < 4.0 => "loss-2",
        Some(_) => "loss-3",
    }
}
