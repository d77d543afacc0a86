//! Greedy text from the real model, as in the Try step.

use burn::tensor::Device;
use engine::{
    adapter::{AdapterForm, DeviceAdapter},
    data::Encoder,
    generate::{GenerationInput, generate},
    model::Model,
    template::ChatTemplate,
    tokenizer::Tokenizer,
    weights::checkpoint::ModelFiles,
};
use protocol::{AdapterId, AdapterSpec, Conversation, GenerationSpec, Message, Precision, Speaker};
use serde::{Deserialize, Serialize};

use crate::{draw, host::BenchHost};

/// Long answers, so that every answer reaches the token limit.
const PROMPT: &str = "Tell a long story about a lighthouse keeper and the storms of one winter.";

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerSpec {
    new_tokens: usize,
    is_tuned: bool,
}

/// The measurements of the last answer.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    prompt_tokens: usize,
    new_tokens: usize,
    /// From the request to the first text.
    first_secs: f64,
    /// From the first text to the last.
    rest_secs: f64,
}

pub struct Answer {
    model: Model,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    adapter: Option<DeviceAdapter>,
    spec: GenerationSpec,
    pub told: Told,
}

impl Answer {
    pub async fn new(
        spec: AnswerSpec,
        files: &ModelFiles,
        device: &Device,
    ) -> Result<Self, String> {
        let model = Model::load(files, device, async |_| ())
            .await
            .map_err(|error| error.to_string())?;
        let tokenizer = Tokenizer::from_source(&files.tokenizer)
            .map_err(|error| error.to_string())?
            .with_model_ids(files.config.bos_token_id, &files.config.eos_token_ids);
        let template = files
            .chat_template
            .as_deref()
            .or(tokenizer.chat_template())
            .map(|source| ChatTemplate::new(source, &tokenizer))
            .transpose()
            .map_err(|error| error.to_string())?;
        let adapter = if spec.is_tuned {
            let start = AdapterForm::start(&AdapterSpec::default(), &model, 0).await;
            let (form, start) = start.map_err(|failure| failure.what)?;
            let mut parameters = draw::draw("tuned", start.len());
            // Small enough to leave the text readable.
            parameters.iter_mut().for_each(|value| *value *= 1e-3);
            Some(form.upload(&parameters, &model))
        } else {
            None
        };
        let speaker = match spec.is_tuned {
            true => Speaker::Adapter(AdapterId(1)),
            false => Speaker::Base,
        };
        let conversation = Conversation {
            speaker,
            messages: vec![Message::new("user", PROMPT)],
            tools: Vec::new(),
        };
        Ok(Self {
            model,
            tokenizer,
            template,
            adapter,
            spec: GenerationSpec {
                conversations: vec![conversation],
                as_text: false,
                max_new_tokens: spec.new_tokens,
                temperature: 0.0,
                top_k: 0,
                top_p: 1.0,
                repetition_penalty: 1.0,
                seed: 1,
            },
            told: Told::default(),
        })
    }

    /// Generates `times` answers, the same each time.
    pub async fn run(&mut self, times: u32) -> Result<(), String> {
        for _ in 0..times {
            let host = BenchHost::default();
            let input = GenerationInput {
                conversation: &self.spec.conversations[0],
                spec: &self.spec,
                model: &self.model,
                encoder: Encoder {
                    tokenizer: &self.tokenizer,
                    template: self.template.as_ref(),
                },
                adapter: self.adapter.as_ref(),
                precision: Precision::Single,
            };
            let start = engine::surroundings::Clock::now_millis(&host);
            let summary = generate(input, &host)
                .await
                .map_err(|failure| failure.what)?;
            let first_millis = host.first_text.get().map_or(0.0, |first| first - start);
            self.told = Told {
                prompt_tokens: summary.prompt_tokens,
                new_tokens: summary.new_tokens,
                first_secs: first_millis / 1e3,
                rest_secs: (summary.elapsed_millis - first_millis) / 1e3,
            };
        }
        Ok(())
    }
}
