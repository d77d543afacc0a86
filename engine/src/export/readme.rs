//! README.md of the zip: what the adapter is, what it achieved, how to use it and how to check it.
//!
//! It is also a model card, with the front matter that hubs read. Every part is a function; [`render`] joins them.
//! Whatever comes from the user's files goes through `quoted`, `code` or `heading`, by the place where it stands.

use std::fmt::Write;

use protocol::{ByName, DeviceKind, RunOutcome};

use super::{ExportError, ExportInput, adapter, log};

/// How to load the adapter and chat, for a model with a chat template.
const USE: &str = include_str!("use.py");
/// The same for a model that continues plain text.
const USE_PLAIN: &str = include_str!("use_plain.py");
/// Measures the losses of `evaluation.json` again, from `held_out.jsonl`.
const VERIFY: &str = include_str!("verify.py");

/// The whole file. Names come from the user's files and are escaped so that they cannot change the layout.
///
/// # Errors
/// [`ExportError::Json`] if the settings cannot be written.
pub(super) fn render(input: &ExportInput<'_>) -> Result<String, ExportError> {
    let sections = [
        front_matter(input),
        introduction(input),
        result(input),
        usage(input),
        loss(input),
        verification(input),
        data(input),
        settings(input)?,
        FILES.to_owned(),
    ];
    Ok(sections.join("\n"))
}

/// README.md next to `adapter.gguf`, an adapter of the model called `base`.
pub(super) fn of_gguf_adapter(base: &str) -> String {
    let base = base.lines().next().unwrap_or_default().replace('`', "'");
    format!(
        "# adapter.gguf\n\n\
         A LoRA adapter for llama.cpp, trained on `{base}`. It needs a GGUF file of that model:\n\n\
         ```sh\n\
         llama-cli -m BASE.gguf --lora adapter.gguf\n\
         llama-server -m BASE.gguf --lora adapter.gguf\n\
         ```\n\n\
         Ollama and LM Studio take whole models only: for them, export the merged GGUF, which comes with a Modelfile.\n"
    )
}

/// What each file of the zip is; it lists every one, also those that this zip may lack.
const FILES: &str = "\
## Files
| file | what |
|---|---|
| `adapter_model.safetensors` | the adapter's weights, float32, named as PEFT names them |
| `adapter_config.json` | PEFT's configuration |
| `recipe.json` | everything needed to repeat the run: seeds, hashes, and every setting |
| `log.jsonl` | one JSON object per step and evaluation, in order; null stands for a number that was not finite. Beyond 4,096 steps or 1,024 evaluations it is thinned, as its first line then says |
| `evaluation.json` | held-out loss of the base and the adapter, and the rows it was measured on; under `scores`, what was scored after the run: perplexity, token accuracy, exact matches, each row, labels, and general prompts |
| `held_out.jsonl` | those rows as token ids and labels, to measure the loss again |
| `chat_template.jinja` | the chat template that rendered the rows, where the model has one |
";

/// The model card's metadata, read by hubs and by PEFT.
fn front_matter(input: &ExportInput<'_>) -> String {
    let base = input.model.base_model_name.as_deref();
    let base = base.map_or(String::new(), |name| {
        format!("base_model: {}\n", quoted(name))
    });
    let tag = input.spec.adapter.method.facts().key;
    format!("---\n{base}library_name: peft\ntags:\n- {tag}\n---\n")
}

/// What was trained, where and until when, and the base that it needs.
fn introduction(input: &ExportInput<'_>) -> String {
    let steps = match input.summary.outcome {
        RunOutcome::Finished => format!("finished after {} steps", input.summary.steps),
        RunOutcome::Stopped => format!("stopped by the user after {} steps", input.summary.steps),
        RunOutcome::Failed => format!("ended by an error after {} steps", input.summary.steps),
    };
    let device = match input.device.kind {
        DeviceKind::WebGpu => "WebGPU",
        DeviceKind::Cpu => "the CPU",
    };
    let when = input
        .finished_at
        .map_or(String::new(), |time| format!(" on {}", code(time)));
    format!(
        "# {} tuned with Inlay\n\n\
         An adapter ({}) with {} trained parameters, made in a browser tab on {device}. The run was {steps}{when}; \
         this is the adapter of step {}.\n\n\
         Base model: {}, {} weights, file sha256 {}.\n",
        heading(&input.model.name),
        input.spec.adapter.method.facts().name,
        input.summary.trainable_parameters,
        input.summary.best_step,
        code(adapter::base_model(input.model)),
        code(&input.model.quantization),
        code(&input.model.sha256),
    )
}

/// The losses on the held-out rows before and after, or why there are none.
fn result(input: &ExportInput<'_>) -> String {
    let report = input.evaluation;
    let (Some(base), Some(tuned)) = (report.base_loss, report.tuned_loss) else {
        let reason = if input.held_out_rows.is_empty() {
            "No rows were held out, so there is no measured loss."
        } else {
            "The run ended before the held-out rows were evaluated, so there is no measured loss."
        };
        return format!("## Result\n{reason}\n");
    };
    let released = if input.held_out.is_empty() {
        " The rows themselves are not here: the tab let go of them to make room for those of later runs."
    } else {
        ""
    };
    format!(
        "## Result\n\
         | | loss on held-out rows |\n|---|---|\n| base model | {base:.4} |\n| with this adapter | {tuned:.4} |\n\n\
         Mean negative log-likelihood per scored token (natural logarithm) over {} tokens of {} rows that were not \
         trained on. The exact values are in `evaluation.json`.{released}\n",
        report.scored_tokens, input.prepared.num_validation_rows,
    )
}

/// How to use it in Python, and what to mind with this base.
fn usage(input: &ExportInput<'_>) -> String {
    let snippet = if input.chat_template.is_some() {
        USE
    } else {
        USE_PLAIN
    };
    let snippet = snippet.replace("\"{{base}}\"", &quoted(adapter::base_model(input.model)));
    let mut text = format!(
        "## Use it\n```sh\npip install peft transformers torch\n```\n```python\n{snippet}```\n"
    );
    if input.model.base_model_name.is_none() {
        text.push_str(
            "\nThe model file does not name its base model: set `base` to the folder or hub ID it came from.\n",
        );
    }
    if input.model.quantization.starts_with('Q') {
        let _ = write!(
            text,
            "\nThe adapter was trained on {} weights. On the unquantized base it works the same, with slightly \
             different losses. To load the exact weights it was trained on, name the GGUF file: \
             `AutoModelForCausalLM.from_pretrained(folder, gguf_file=\"...\", dtype=torch.float32)`, and keep the \
             tokenizer of the model on the hub (transformers loses the GGUF's rules for splitting digits).\n",
            code(&input.model.quantization)
        );
    }
    text
}

/// How rows are rendered, cut and scored, in the words of `evaluation.json`.
fn loss(input: &ExportInput<'_>) -> String {
    format!(
        "## How the loss is computed\n\
         - Rendering: {}.\n- Scored: {}.\n- Truncation: {} ({}).\n\
         - The loss is the sum of the negative log-likelihoods of all scored tokens, divided by their number, computed \
         in float32 with the adapter's dropout off.\n",
        log::rendering(input.chat_template.is_some()),
        log::loss_on(input.spec.data.train_on),
        log::TRUNCATION,
        input.evaluation.sequence_length,
    )
}

/// How to measure the losses again; without losses, what to look for when loading.
fn verification(input: &ExportInput<'_>) -> String {
    if input.evaluation.tuned_loss.is_none() || input.held_out.is_empty() {
        return "## Verify it\nLoad the adapter as above: PEFT warns about missing or unexpected tensors; there \
                should be none. The SHA-256 hashes of the model and the data are in `recipe.json`.\n"
            .to_owned();
    }
    format!(
        "## Verify it\nRun this in the folder of this file, after the code above. With the weights the adapter was \
         trained on, the losses agree to about 0.001.\n```python\n{VERIFY}```\n\
         The SHA-256 hashes of the model and the data are in `recipe.json`.\n"
    )
}

/// Where the rows went.
fn data(input: &ExportInput<'_>) -> String {
    let names: Vec<String> = input.dataset.names.iter().map(|name| code(name)).collect();
    let prepared = input.prepared;
    format!(
        "## Data\n{}, sha256 {}\n\n| rows | |\n|---|---|\n| in the files | {} |\n| readable | {} |\n\
         | trained on | {} |\n| held out | {} |\n| cut at {} tokens | {} |\n\
         | held out for testing | {} |\n| left out: nothing to learn | {} |\n| left out by the user | {} |\n\
         | duplicates of an earlier row | {} |\n",
        names.join(", "),
        code(&input.dataset.sha256),
        input.dataset.num_rows,
        input.dataset.num_usable_rows,
        prepared.num_training_rows,
        prepared.num_validation_rows,
        input.spec.data.max_seq_length,
        prepared.num_truncated,
        prepared.num_test_rows,
        prepared.num_without_target,
        prepared.num_left_out,
        input.dataset.num_duplicates,
    )
}

/// Every setting under its name in `recipe.json`, so that no setting can be forgotten here.
fn settings(input: &ExportInput<'_>) -> Result<String, ExportError> {
    let mut text = "## Settings\n| setting | value |\n|---|---|\n".to_owned();
    let settings = serde_json::to_value(ByName(input.spec))?;
    for (name, value) in settings.as_object().into_iter().flatten() {
        let value = value.to_string().replace('"', "");
        let _ = writeln!(text, "| `{name}` | {} |", code(&value));
    }
    Ok(text)
}

/// A Python (and YAML) string literal: JSON's escapes mean the same in both.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A code span in text or in a table, on one line. Backticks and bars would end the span or the cell and are replaced.
fn code(text: &str) -> String {
    let text: String = printable(text)
        .chars()
        .map(|c| match c {
            '`' => '\'',
            '|' => '/',
            other => other,
        })
        .collect();
    format!("`{text}`")
}

/// Plain text in a heading, without the characters that Markdown or HTML would act on.
fn heading(text: &str) -> String {
    printable(text)
        .chars()
        .filter(|c| !matches!(c, '`' | '[' | ']' | '<' | '>' | '#' | '*' | '|' | '!'))
        .collect()
}

/// One line of at most 200 characters.
fn printable(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
