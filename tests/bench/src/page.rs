//! The interface for JavaScript.

use engine::weights::checkpoint::{ModelFiles, NamedSource, open};
use js_sys::Function;
use serde::Deserialize;
use serde_json::json;
use wasm_bindgen::{JsCast, JsError, prelude::wasm_bindgen};
use web_sys::DedicatedWorkerGlobalScope;
use worker::OpenDevice;

#[cfg(feature = "cpu")]
use crate::limit::{Limit, LimitSpec};
use crate::{
    answer::{Answer, AnswerSpec},
    packing::{Packing, PackingSpec},
    product::{Product, ProductSpec},
    source::JsSource,
    training::{StepSpec, Training},
};

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Spec {
    Matmul(ProductSpec),
    Step(StepSpec),
    /// A step of the real model.
    RealStep {
        tokens: usize,
    },
    Packing(PackingSpec),
    Answer(AnswerSpec),
    #[cfg(feature = "cpu")]
    Limit(LimitSpec),
}

enum Work {
    Product(Box<Product>),
    Training(Box<Training>),
    Packing(Box<Packing>),
    Answer(Box<Answer>),
    #[cfg(feature = "cpu")]
    Limit(Limit),
}

/// The engine on its device, and the work being measured.
#[wasm_bindgen]
pub struct Bench {
    open: OpenDevice,
    real: Option<ModelFiles>,
    work: Option<Work>,
}

fn error(message: impl ToString) -> JsError {
    JsError::new(&message.to_string())
}

#[wasm_bindgen]
impl Bench {
    /// Opens the device, as the page's worker does.
    pub async fn open() -> Result<Bench, JsError> {
        worker::run_constructors();
        let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
        Ok(Self {
            open: worker::open_device(&scope).await.map_err(error)?,
            real: None,
            work: None,
        })
    }

    /// The device's name and its threads, as JSON.
    pub fn about(&self) -> String {
        json!({ "device": self.open.name, "threads": self.open.threads }).to_string()
    }

    /// Names the real model's file: its size, and the function that reads it.
    #[wasm_bindgen(js_name = useModel)]
    pub async fn use_model(
        &mut self,
        name: String,
        num_bytes: f64,
        read: Function,
    ) -> Result<(), JsError> {
        let source = JsSource {
            num_bytes: num_bytes as u64,
            read,
        };
        let file = NamedSource {
            name,
            source: Box::new(source),
        };
        self.real = Some(open(vec![file]).await.map_err(error)?);
        Ok(())
    }

    /// Prepares what `spec` (JSON) describes, replacing the previous workload. Returns the amount of work of a run,
    /// unless it follows from the product or model.
    pub async fn prepare(&mut self, spec: String) -> Result<Option<f64>, JsError> {
        self.work = None;
        let real = || {
            let none = "the real model is not there (make model)";
            self.real.as_ref().ok_or_else(|| error(none))
        };
        let device = &self.open.device;
        let work = match serde_json::from_str(&spec).map_err(error)? {
            Spec::Matmul(spec) => Work::Product(Box::new(Product::new(spec, device))),
            Spec::Step(spec) => {
                let training = Training::drawn(spec, device).await;
                Work::Training(Box::new(training.map_err(error)?))
            }
            Spec::RealStep { tokens } => {
                let training = Training::real(real()?, tokens, device).await;
                Work::Training(Box::new(training.map_err(error)?))
            }
            Spec::Packing(spec) => {
                let packing = Packing::new(spec, real()?, device).await;
                Work::Packing(Box::new(packing.map_err(error)?))
            }
            Spec::Answer(spec) => {
                let answer = Answer::new(spec, real()?, device).await;
                Work::Answer(Box::new(answer.map_err(error)?))
            }
            #[cfg(feature = "cpu")]
            Spec::Limit(spec) => Work::Limit(Limit::new(spec)),
        };
        let amount = match &work {
            #[cfg(feature = "cpu")]
            Work::Limit(limit) => Some(limit.amount()),
            _ => None,
        };
        self.work = Some(work);
        Ok(amount)
    }

    /// Runs the workload `times` times.
    pub async fn run(&mut self, times: u32) -> Result<(), JsError> {
        let done = match &mut self.work {
            Some(Work::Product(product)) => product.run(times).await,
            Some(Work::Training(training)) => training.run(times).await,
            Some(Work::Packing(packing)) => packing.run(times).await,
            Some(Work::Answer(answer)) => answer.run(times).await,
            #[cfg(feature = "cpu")]
            Some(Work::Limit(limit)) => {
                limit.run(times);
                Ok(())
            }
            None => Err("nothing is prepared".to_owned()),
        };
        done.map_err(error)
    }

    /// The results of the workload, as JSON.
    pub async fn check(&mut self) -> Result<String, JsError> {
        let told = match &self.work {
            Some(Work::Product(product)) => {
                json!({ "error": product.error().await.map_err(error)? })
            }
            Some(Work::Training(training)) => json!(training.told()),
            Some(Work::Packing(packing)) => json!(packing.told),
            Some(Work::Answer(answer)) => json!(answer.told),
            #[cfg(feature = "cpu")]
            Some(Work::Limit(_)) => json!({}),
            None => json!({}),
        };
        Ok(told.to_string())
    }

    /// The memory in bytes, as JSON: the module's own (it never shrinks), and the device's, if known.
    pub fn memory(&self) -> String {
        let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
        let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
        let pool = self.open.device.memory_pool_usage();
        json!({
            "wasmBytes": buffer.byte_length(),
            "deviceBytesInUse": pool.as_ref().map(|pool| pool.bytes_in_use),
            "deviceBytesReserved": pool.as_ref().map(|pool| pool.bytes_reserved),
        })
        .to_string()
    }

    /// Ends the workload and releases its memory.
    pub fn end(&mut self) {
        self.work = None;
        self.open.device.memory_cleanup();
    }
}
