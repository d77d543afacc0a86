//! The datasets included with the page, with settings that visibly change the included model within two minutes on a
//! CPU.

use protocol::{Method, TrainOn};

use super::form::{Field, Form};

/// A dataset included with the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub title: &'static str,
    /// What it teaches, in one sentence.
    pub about: &'static str,
    /// The name of the button that loads it.
    pub button: &'static str,
    pub file_name: &'static str,
    /// JSON lines.
    pub rows: &'static str,
    pub settings: [(Field, &'static str); 12],
    /// A question that shows the change; it is not in the rows.
    pub prompt: &'static str,
}

const ALL_LINEAR: &str = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj";

/// A manner, an extraction and a classification.
pub const SAMPLES: [Sample; 3] = [
    Sample {
        title: "Manner: a lighthouse keeper",
        about: "Every answer is short, mentions the sea and is signed by the keeper.",
        button: "Load sample dataset",
        file_name: "manner.jsonl",
        rows: include_str!("../../assets/samples/manner.jsonl"),
        settings: [
            (Field::named("r"), "16"),
            (Field::named("lora_alpha"), "32"),
            (Field::named("target_modules"), ALL_LINEAR),
            (Field::named("learning_rate"), "0.002"),
            (Field::named("warmup_ratio"), "0.1"),
            (Field::named("num_train_epochs"), "3"),
            (Field::named("max_steps"), "18"),
            (Field::named("per_device_train_batch_size"), "2"),
            (Field::named("max_seq_length"), "128"),
            (Field::named("validation_split"), "0.1"),
            (Field::named("eval_steps"), "9"),
            (Field::named("max_new_tokens"), "48"),
        ],
        prompt: "What is the capital of Italy?",
    },
    Sample {
        title: "Extraction: a booking to JSON",
        about: "A message to a restaurant becomes JSON with name, day, time and number of people.",
        button: "Load sample: extraction",
        file_name: "extraction.jsonl",
        rows: include_str!("../../assets/samples/extraction.jsonl"),
        settings: [
            (Field::named("r"), "16"),
            (Field::named("lora_alpha"), "32"),
            (Field::named("target_modules"), ALL_LINEAR),
            (Field::named("learning_rate"), "0.002"),
            (Field::named("warmup_ratio"), "0.1"),
            (Field::named("num_train_epochs"), "3"),
            (Field::named("max_steps"), "18"),
            (Field::named("per_device_train_batch_size"), "2"),
            (Field::named("max_seq_length"), "128"),
            (Field::named("validation_split"), "0.1"),
            (Field::named("eval_steps"), "9"),
            (Field::named("max_new_tokens"), "48"),
        ],
        prompt: "Hello, it is Thea. We would be three on Saturday at 18:15, please.",
    },
    Sample {
        title: "Classification: support tickets",
        about: "A customer\u{2019}s message gets one of four labels: billing, delivery, returns or technical.",
        button: "Load sample: classification",
        file_name: "classification.jsonl",
        rows: include_str!("../../assets/samples/classification.jsonl"),
        settings: [
            (Field::named("r"), "16"),
            (Field::named("lora_alpha"), "32"),
            (Field::named("target_modules"), ALL_LINEAR),
            (Field::named("learning_rate"), "0.002"),
            (Field::named("warmup_ratio"), "0.1"),
            (Field::named("num_train_epochs"), "3"),
            (Field::named("max_steps"), "36"),
            (Field::named("per_device_train_batch_size"), "2"),
            (Field::named("max_seq_length"), "96"),
            (Field::named("validation_split"), "0.1"),
            (Field::named("eval_steps"), "12"),
            (Field::named("max_new_tokens"), "16"),
        ],
        prompt: "My package has been on its way for three weeks.",
    },
];

impl Sample {
    /// Applies the settings for this sample, and a question for Try unless the user wrote one.
    pub fn set(&self, form: &mut Form) {
        form.settings.run.adapter.method = Method::Lora;
        form.settings.run.initial_adapter = None;
        form.settings.run.data.train_on = TrainOn::default();
        form.settings.run.packing = false;
        for (field, text) in self.settings {
            form.set(field, text);
        }
        let is_sample = |prompt: &str| SAMPLES.iter().any(|sample| sample.prompt == prompt);
        if form.prompt.trim().is_empty() || is_sample(&form.prompt) {
            form.prompt = self.prompt.to_owned();
        }
    }
}
