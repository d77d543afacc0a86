//! An epoch of short rows, padded and packed.

use burn::tensor::Device;
use engine::{
    data::{TokenSequence, batch::BatchSchedule},
    model::Model,
    pacing::{Interruption, Pacing},
    surroundings::Clock,
    train::state::TrainingState,
    weights::checkpoint::ModelFiles,
};
use protocol::RunSpec;
use serde::{Deserialize, Serialize};

use crate::{
    draw,
    host::{BenchHost, profile},
};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PackingSpec {
    /// Tokens of each row, and how many at its end are trained.
    rows: Vec<(usize, usize)>,
    batch_size: usize,
    max_seq_length: usize,
}

/// The measurements of all epochs so far.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// The tokens of an epoch, without padding.
    tokens: usize,
    unpacked_secs: Vec<f64>,
    packed_secs: Vec<f64>,
    unpacked_steps: usize,
    packed_steps: usize,
}

/// The real model, and rows that each run trains on twice: unpacked, then packed.
pub struct Packing {
    model: Model,
    rows: Vec<TokenSequence>,
    spec: RunSpec,
    pub told: Told,
}

impl Packing {
    pub async fn new(
        spec: PackingSpec,
        files: &ModelFiles,
        device: &Device,
    ) -> Result<Self, String> {
        let model = Model::load(files, device, async |_| ())
            .await
            .map_err(|error| error.to_string())?;
        let mut run = RunSpec {
            per_device_train_batch_size: spec.batch_size,
            ..RunSpec::default()
        };
        run.data.max_seq_length = spec.max_seq_length;
        let rows = spec.rows(files.config.vocab_size);
        Ok(Self {
            told: Told {
                tokens: rows.iter().map(|row| row.ids.len()).sum(),
                ..Told::default()
            },
            model,
            rows,
            spec: run,
        })
    }

    /// Runs `times` epochs of each kind, in turn.
    pub async fn run(&mut self, times: u32) -> Result<(), String> {
        for _ in 0..times {
            let (secs, steps) = self.epoch(false).await?;
            self.told.unpacked_secs.push(secs);
            self.told.unpacked_steps = steps;
            let (secs, steps) = self.epoch(true).await?;
            self.told.packed_secs.push(secs);
            self.told.packed_steps = steps;
        }
        Ok(())
    }

    /// Seconds and optimizer steps of one epoch on a new adapter.
    async fn epoch(&self, packing: bool) -> Result<(f64, usize), String> {
        let spec = RunSpec {
            packing,
            ..self.spec.clone()
        };
        let host = BenchHost::default();
        let pacing = Pacing::new(&host);
        let mut state = TrainingState::start(&spec, &self.model, profile())
            .await
            .map_err(|error| error.to_string())?;
        let mut batches = BatchSchedule::new(&self.rows, &spec);
        let (start, mut num_steps) = (host.now_millis(), 0);
        while batches.epoch() < 1.0 {
            let micro_batches = batches.next_step();
            state
                .step(&self.model, &micro_batches, spec.learning_rate, &pacing)
                .await
                .map_err(|interruption| match interruption {
                    Interruption::Stopped => "stopped".to_owned(),
                    Interruption::Failed(error) => error.to_string(),
                })?;
            num_steps += 1;
        }
        Ok(((host.now_millis() - start) / 1e3, num_steps))
    }
}

impl PackingSpec {
    fn rows(&self, vocabulary: usize) -> Vec<TokenSequence> {
        let total = self.rows.iter().map(|(length, _)| length).sum();
        let mut ids = draw::ids(total, vocabulary).into_iter();
        let rows = self.rows.iter().enumerate();
        rows.map(|(row, &(length, trained))| TokenSequence {
            row,
            ids: ids.by_ref().take(length).collect(),
            loss_mask: (0..length).map(|at| at + trained >= length).collect(),
        })
        .collect()
    }
}
