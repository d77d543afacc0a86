//! All that a program without a page needs to train an adapter: files, settings, rows, a plan, a clock.

use std::{fs, path::Path, time::Instant};

use burn::tensor::Device;
use engine::{
    data::{Encoder, prepare::Preparation},
    device::DeviceProfile,
    model::Model,
    plan::RunPlan,
    template,
    train::session::{TrainingInput, train},
    weights::checkpoint::{NamedSource, open},
};
use formats::{
    row::{Example, Row},
    row_file::{RowFacts, StoredRow},
};
use futures_executor::block_on;
use protocol::{DeviceKind, Failure, RunSpec};

/// Trains the tiny model to answer that two and two are four; gives the losses of the steps.
async fn tune(folder: &Path) -> Result<Vec<f64>, Failure> {
    let names = ["config.json", "model.safetensors", "tokenizer.json"];
    let sources = names.map(|name| NamedSource {
        name: name.to_owned(),
        source: Box::new(fs::read(folder.join(name)).unwrap()),
    });
    let files = open(sources.into()).await?;
    let (tokenizer, template) = template::of_model(&files)?;
    let device = DeviceProfile::new(DeviceKind::Cpu);
    let model = Model::load(&files, &Device::flex(), async |_| ()).await?;
    let mut spec = RunSpec {
        max_steps: 20,
        learning_rate: 0.01,
        ..RunSpec::default()
    };
    spec.data.validation_split = 0.0;
    spec.data.max_seq_length = 64;
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: template.as_ref(),
    };
    let mut rows = Preparation::new(encoder, &spec.data, &[]);
    for row in 0..4 {
        let example = Example::Text("Two and two are four.".to_owned());
        rows.add(&StoredRow {
            row: Row { row, example },
            facts: RowFacts::default(),
        });
    }
    let rows = rows.finish()?;
    let summary = files.summary(String::new());
    let plan = RunPlan::new(&spec, &summary, &rows.summary, device, model.num_bytes())?;
    let (train_on, validation) = (&rows.train, &rows.validation);
    let input = TrainingInput {
        plan: &plan,
        model: &model,
        initial: None,
        train: train_on,
        validation,
    };
    let result = train(input, &Instant::now()).await;
    let steps = result.steps.spans().iter().map(|span| span.loss);
    result
        .failure
        .map_or(Ok(steps.collect()), |error| Err(error.into()))
}

#[test]
fn a_program_without_a_page_trains_the_tiny_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/model/tiny");
    let losses = block_on(tune(&folder)).unwrap();
    assert_eq!(losses.len(), 20);
    println!("{losses:.3?}");
    assert!(losses[19] < 0.8 * losses[0], "{losses:.3?}");
}
