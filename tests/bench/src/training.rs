//! A LoRA training step through the engine, as in a run.

use std::collections::BTreeMap;

use burn::tensor::Device;
use engine::{
    adapter::{Part, Place},
    arch::LLAMA,
    data::{TokenSequence, batch::Batch},
    model::Model,
    pacing::{Interruption, Pacing},
    train::state::TrainingState,
    weights::{
        checkpoint::{ModelFiles, open},
        config::ModelConfig,
    },
};
use protocol::{AdapterSpec, RunSpec, TargetModule};
use serde::Deserialize;

use crate::{
    draw,
    host::{BenchHost, profile},
    source::drawn_files,
};

/// A model in the language of `site/shape.js`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    intermediate: usize,
    eps: f64,
    theta: f64,
    rank: usize,
    alpha: usize,
    learning_rate: f64,
}

/// A step of a drawn model.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct StepSpec {
    dimensions: Shape,
    layers: usize,
    tokens: usize,
    vocabulary: usize,
}

/// An adapter in training on one batch of one row, all of it scored.
pub struct Training {
    model: Model,
    state: TrainingState,
    batch: Batch,
    learning_rate: f64,
    pacing: Pacing<'static>,
    losses: Vec<f64>,
}

impl Training {
    /// With random weights, ids and adapter, identical to those of the peers.
    pub async fn drawn(spec: StepSpec, device: &Device) -> Result<Self, String> {
        let Shape {
            rank,
            alpha,
            learning_rate,
            ..
        } = spec.dimensions;
        let config = spec.config();
        let files = drawn_files(&config).map_err(|error| error.to_string())?;
        let files = open(files).await.map_err(|error| error.to_string())?;
        let model = load(&files, device).await?;
        let mut training = Self::new(
            model,
            draw::ids(spec.tokens, spec.vocabulary),
            rank,
            alpha,
            learning_rate,
        )
        .await?;
        let layout = training.state.form.layout.clone();
        for slot in layout.slots {
            let Place::Module {
                layer,
                module,
                part: Part::A,
            } = slot.place
            else {
                continue;
            };
            let module = module.name().trim_end_matches("_proj");
            let [r, in_features] = slot.shape;
            let a = draw::matrix(&format!("lora.{layer}.{module}.A"), r, in_features);
            training.state.parameters[slot.range].copy_from_slice(&a);
        }
        Ok(training)
    }

    /// The real model on drawn ids.
    pub async fn real(files: &ModelFiles, tokens: usize, device: &Device) -> Result<Self, String> {
        let model = load(files, device).await?;
        let ids = draw::ids(tokens, files.config.vocab_size);
        Self::new(model, ids, 8, 16, 1e-3).await
    }

    async fn new(
        model: Model,
        ids: Vec<u32>,
        rank: usize,
        alpha: usize,
        learning_rate: f64,
    ) -> Result<Self, String> {
        let spec = RunSpec {
            adapter: AdapterSpec {
                r: rank,
                lora_alpha: alpha as f64,
                lora_dropout: 0.0,
                target_modules: vec![TargetModule::QProj, TargetModule::VProj],
                ..AdapterSpec::default()
            },
            learning_rate,
            weight_decay: 0.0,
            // Off, as in the peers.
            max_grad_norm: 0.0,
            ..RunSpec::default()
        };
        let row = TokenSequence {
            row: 0,
            loss_mask: (0..ids.len()).map(|at| at > 0).collect(),
            ids,
        };
        // There are few works in a session of the bench; the rhythm of each lasts as long as a run's.
        let host: &'static BenchHost = Box::leak(Box::default());
        Ok(Self {
            state: TrainingState::start(&spec, &model, profile())
                .await
                .map_err(|error| error.to_string())?,
            batch: Batch::new(&[&row]),
            learning_rate,
            pacing: Pacing::new(host),
            losses: Vec::new(),
            model,
        })
    }

    /// Takes `times` optimizer steps.
    pub async fn run(&mut self, times: u32) -> Result<(), String> {
        for _ in 0..times {
            let batches = std::slice::from_ref(&self.batch);
            let outcome = self
                .state
                .step(&self.model, batches, self.learning_rate, &self.pacing)
                .await
                .map_err(|interruption| match interruption {
                    Interruption::Stopped => "stopped".to_owned(),
                    Interruption::Failed(error) => error.to_string(),
                })?;
            self.losses.push(outcome.loss);
        }
        Ok(())
    }

    /// The losses of all steps so far, and the memory of the weights.
    pub fn told(&self) -> BTreeMap<&'static str, serde_json::Value> {
        BTreeMap::from([
            ("losses", serde_json::json!(self.losses)),
            ("weightBytes", serde_json::json!(self.model.num_bytes())),
        ])
    }
}

async fn load(files: &ModelFiles, device: &Device) -> Result<Model, String> {
    Model::load(files, device, async |_| ())
        .await
        .map_err(|error| error.to_string())
}

impl StepSpec {
    fn config(&self) -> ModelConfig {
        let Shape {
            hidden,
            heads,
            kv_heads,
            head_dim,
            intermediate,
            eps,
            theta,
            ..
        } = self.dimensions;
        ModelConfig {
            arch: &LLAMA,
            hidden_size: hidden,
            intermediate_size: intermediate,
            num_hidden_layers: self.layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            vocab_size: self.vocabulary,
            max_position_embeddings: 2048,
            rope_theta: theta,
            rms_norm_eps: eps,
            tie_word_embeddings: true,
            bos_token_id: None,
            eos_token_ids: Vec::new(),
        }
    }
}
