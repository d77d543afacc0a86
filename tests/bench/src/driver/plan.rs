//! The workloads to measure, and their sides.

use std::path::PathBuf;

use serde_json::{Value, json};

use bench::draw::draw;

pub const USAGE: &str = "bench [--only LIST] [--sides LIST] [--tokens LIST] [--repetitions N] [--patience SECS] [--output FILE]

  --only         of: limit, agreement, matmul, step, real, packing, answer, startup (all of them)
  --sides        parts of the sides' names, such as ours,jax (all of them)
  --tokens       of the products and of the real model's step (128,256,512,1024)
  --repetitions  timed runs of each side, in turn with the others (5)
  --patience     seconds that one call may take before its side is given up (300)
  --output       where the JSON goes (target/bench/results.json)";

const GROUPS: [&str; 8] = [
    "limit",
    "agreement",
    "matmul",
    "step",
    "real",
    "packing",
    "answer",
    "startup",
];

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Options {
    only: Vec<String>,
    sides: Vec<String>,
    pub tokens: Vec<usize>,
    pub repetitions: usize,
    pub patience_secs: u64,
    pub output: Option<PathBuf>,
}

impl Options {
    /// # Errors
    /// What is wrong with the arguments.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            only: GROUPS.map(str::to_owned).into(),
            sides: Vec::new(),
            tokens: vec![128, 256, 512, 1024],
            repetitions: 5,
            patience_secs: 300,
            output: None,
        };
        let mut arguments = arguments.peekable();
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
            let number = |text: &str| {
                let number = text.parse::<usize>().ok().filter(|&number| number > 0);
                number.ok_or_else(|| format!("{name}: '{text}' is no number above zero"))
            };
            match name.as_str() {
                "--only" => options.only = list(),
                "--sides" => options.sides = list(),
                "--tokens" => {
                    let numbers = value.split(',').map(number);
                    options.tokens = numbers.collect::<Result<_, _>>()?;
                }
                "--repetitions" => options.repetitions = number(&value)?,
                "--patience" => options.patience_secs = number(&value)? as u64,
                "--output" => options.output = Some(value.into()),
                _ => return Err(format!("{name} is no option")),
            }
        }
        match options
            .only
            .iter()
            .find(|group| !GROUPS.contains(&group.as_str()))
        {
            Some(group) => Err(format!("--only: there is no '{group}'")),
            None => Ok(options),
        }
    }

    pub fn takes(&self, group: &str) -> bool {
        self.only.iter().any(|only| only == group)
    }

    fn takes_side(&self, side: Side) -> bool {
        let name = side.name().to_lowercase();
        self.sides.is_empty()
            || self
                .sides
                .iter()
                .any(|part| name.contains(&part.to_lowercase()))
    }
}

/// A side: an implementation to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    OursGpu,
    JaxGpu,
    JaxGpuWhole,
    TfjsGpu,
    /// Kernels in WGSL that only multiply and add, or copy.
    LimitGpu,
    OursRelaxed,
    OursThreads,
    OursCpu,
    JaxCpu,
    JaxCpuWhole,
    TfjsCpu,
    PyTorch1,
    PyTorch2,
    PyTorchCuda,
}

/// Where a side runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worker {
    /// In the page's worker of this script.
    Script(&'static str),
    /// In Python, under this key.
    Python(&'static str),
}

/// The processor that a workload runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Gpu,
    Cpu,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Self::OursGpu => "Inlay WebGPU",
            Self::JaxGpu => "jax-js WebGPU",
            Self::JaxGpuWhole => "jax-js WebGPU, one jit",
            Self::TfjsGpu => "TF.js WebGPU",
            Self::LimitGpu => "WGSL limit",
            Self::OursRelaxed => "Inlay wasm threads, fused",
            Self::OursThreads => "Inlay wasm threads",
            Self::OursCpu => "Inlay wasm",
            Self::JaxCpu => "jax-js wasm threads",
            Self::JaxCpuWhole => "jax-js wasm threads, one jit",
            Self::TfjsCpu => "TF.js wasm",
            Self::PyTorch1 => "PyTorch 1 thread",
            Self::PyTorch2 => "PyTorch 2 threads",
            Self::PyTorchCuda => "PyTorch CUDA",
        }
    }

    /// The script of its worker, or its native program.
    pub fn worker(self) -> Worker {
        let script = match self {
            Self::OursGpu => "ours_worker.js?build=gpu",
            Self::OursRelaxed => "ours_worker.js?build=relaxed",
            Self::OursThreads => "ours_worker.js?build=threads",
            Self::OursCpu => "ours_worker.js?build=cpu",
            Self::JaxGpu | Self::JaxGpuWhole => "jax_worker.js?device=webgpu",
            Self::JaxCpu | Self::JaxCpuWhole => "jax_worker.js?device=wasm",
            Self::TfjsGpu => "tfjs_worker.js?device=webgpu",
            Self::TfjsCpu => "tfjs_worker.js?device=wasm",
            Self::LimitGpu => "limits_worker.js",
            Self::PyTorch1 | Self::PyTorch2 | Self::PyTorchCuda => {
                return Worker::Python(self.name());
            }
        };
        Worker::Script(script)
    }

    pub fn is_ours(self) -> bool {
        matches!(
            self,
            Self::OursGpu | Self::OursRelaxed | Self::OursThreads | Self::OursCpu
        )
    }

    /// Whether this is another library in the same browser.
    pub fn is_peer(self) -> bool {
        matches!(
            self,
            Self::JaxGpu
                | Self::JaxGpuWhole
                | Self::TfjsGpu
                | Self::JaxCpu
                | Self::JaxCpuWhole
                | Self::TfjsCpu
        )
    }

    /// Whether this peer supports weights of this kind.
    fn multiplies(self, weights: &str) -> bool {
        weights == "f32" || (weights == "f16" && self == Self::JaxGpu)
    }

    /// The options of this side, besides the workload.
    fn options(self) -> Value {
        match self {
            Self::JaxGpuWhole | Self::JaxCpuWhole => json!({ "isWhole": true }),
            Self::PyTorch1 => json!({ "device": "cpu", "threads": 1 }),
            Self::PyTorch2 => json!({ "device": "cpu", "threads": 2 }),
            Self::PyTorchCuda => json!({ "device": "cuda", "threads": 2 }),
            _ => json!({}),
        }
    }
}

/// A workload to measure.
#[derive(Debug, Clone)]
pub struct Work {
    pub group: &'static str,
    pub place: Place,
    pub name: String,
    /// What is common to all sides.
    spec: Value,
    /// The sides, in the order of their turns.
    pub sides: Vec<Side>,
    /// The floating-point operations of one run, if known.
    pub operations: Option<f64>,
    /// The tokens of one run, if any.
    pub tokens: Option<usize>,
    /// Whether it needs a new worker, because memory is measured.
    pub is_fresh: bool,
}

impl Work {
    /// The specification of the workload for `side`.
    pub fn spec(&self, side: Side) -> Value {
        let mut spec = self.spec.clone();
        if let (Value::Object(spec), Value::Object(options)) = (&mut spec, side.options()) {
            spec.extend(options);
        }
        spec
    }
}

/// All workloads that `options` request.
pub fn works(options: &Options, has_f16: bool) -> Vec<Work> {
    let mut works = Vec::new();
    if options.takes("limit") {
        works.extend(limits(has_f16));
    }
    if options.takes("agreement") {
        works.extend(steps("agreement", "tiny", &[(2, 24, 160)]));
    }
    if options.takes("matmul") {
        works.extend(products(&options.tokens, has_f16));
    }
    if options.takes("step") {
        works.extend(steps("step", "smol", &[(4, 128, 8192), (4, 256, 49152)]));
    }
    if options.takes("real") {
        works.extend(real_steps(&options.tokens));
    }
    if options.takes("packing") {
        works.extend(packing());
    }
    if options.takes("answer") {
        works.extend(answers());
    }
    for work in &mut works {
        work.sides.retain(|&side| options.takes_side(side));
    }
    works.retain(|work| !work.sides.is_empty());
    works
}

fn limits(has_f16: bool) -> Vec<Work> {
    let limit = |place, name: &str, spec, sides| Work {
        group: "limit",
        place,
        name: name.to_owned(),
        spec,
        sides,
        operations: None,
        tokens: None,
        is_fresh: false,
    };
    let multiply_add = |size: usize, number: &str| json!({ "kind": "limit", "limit": "multiply-add", "size": size, "type": number });
    let copy = json!({ "kind": "limit", "limit": "copy", "size": 64 << 20 });
    let gpu = vec![Side::LimitGpu];
    let cpu = vec![Side::OursRelaxed, Side::OursThreads, Side::OursCpu];
    let mut limits = vec![
        limit(
            Place::Gpu,
            "multiply-add f32",
            multiply_add(64, "f32"),
            gpu.clone(),
        ),
        limit(Place::Gpu, "copy", copy.clone(), gpu.clone()),
        limit(
            Place::Cpu,
            "multiply-add f32",
            multiply_add(4_000_000, "f32"),
            cpu.clone(),
        ),
        limit(Place::Cpu, "copy", copy, cpu),
    ];
    if has_f16 {
        let halves = multiply_add(64, "f16");
        limits.insert(1, limit(Place::Gpu, "multiply-add f16", halves, gpu));
    }
    limits
}

/// Layers: name, input features, output features.
const LAYERS: [(&str, usize, usize); 8] = [
    ("SmolLM2 q, o", 576, 576),
    ("SmolLM2 k, v", 576, 192),
    ("SmolLM2 gate, up", 576, 1536),
    ("SmolLM2 down", 1536, 576),
    ("Qwen q, o", 896, 896),
    ("Qwen k, v", 896, 128),
    ("Qwen gate, up", 896, 4864),
    ("Qwen down", 4864, 896),
];

fn products(tokens: &[usize], has_f16: bool) -> Vec<Work> {
    // The variants: the side that is stored transposed, and the type of the weights.
    let variants = [
        ("none", "f32"),
        ("rhs", "f32"),
        ("lhs", "f32"),
        ("rhs", "q4_1"),
        ("none", "q4_1"),
        ("rhs", "q8_0"),
        ("none", "q8_0"),
        ("rhs", "f16"),
    ];
    let places = [
        (Place::Gpu, vec![Side::OursGpu, Side::JaxGpu, Side::TfjsGpu]),
        (
            Place::Cpu,
            vec![
                Side::OursRelaxed,
                Side::OursThreads,
                Side::OursCpu,
                Side::JaxCpu,
                Side::TfjsCpu,
            ],
        ),
    ];
    let mut works = Vec::new();
    for (place, sides) in places {
        for (layer, k, n) in LAYERS {
            for &m in tokens {
                for (transposed, weights) in variants {
                    if weights == "f16" && !(has_f16 && place == Place::Gpu) {
                        continue;
                    }
                    let label = match transposed {
                        "none" => "plain",
                        "rhs" => "right transposed",
                        _ => "left transposed",
                    };
                    works.push(Work {
                        group: "matmul",
                        place,
                        name: format!("{layer}: {m}x{k} x {k}x{n} {label} {weights}"),
                        spec: json!({ "kind": "matmul", "m": m, "k": k, "n": n, "transposed": transposed, "weights": weights }),
                        // The peers have no quantized weights: their f32 product is compared with ours.
                        sides: sides
                            .iter()
                            .copied()
                            .filter(|side| side.is_ours() || side.multiplies(weights))
                            .collect(),
                        operations: Some(2.0 * (m * k * n) as f64),
                        tokens: None,
                        is_fresh: false,
                    });
                }
            }
        }
    }
    works
}

/// Layers, tokens, vocabulary.
fn steps(group: &'static str, shape: &str, sizes: &[(usize, usize, usize)]) -> Vec<Work> {
    let places = [
        (
            Place::Gpu,
            vec![
                Side::OursGpu,
                Side::JaxGpu,
                Side::JaxGpuWhole,
                Side::PyTorchCuda,
            ],
        ),
        (
            Place::Cpu,
            vec![
                Side::OursRelaxed,
                Side::OursThreads,
                Side::OursCpu,
                Side::JaxCpu,
                Side::JaxCpuWhole,
                Side::PyTorch1,
                Side::PyTorch2,
            ],
        ),
    ];
    let mut works = Vec::new();
    for (place, sides) in places {
        for &(layers, tokens, vocabulary) in sizes {
            works.push(Work {
                group,
                place,
                name: format!("{layers} layers, {tokens} tokens, {vocabulary} words"),
                spec: json!({
                    "kind": "step", "shape": shape, "layers": layers, "tokens": tokens, "vocabulary": vocabulary,
                    // PyTorch draws in Python, which is fast enough only for small models.
                    "drawn": shape == "tiny",
                }),
                sides: sides.clone(),
                operations: None,
                tokens: Some(tokens),
                is_fresh: false,
            });
        }
    }
    works
}

fn real_steps(tokens: &[usize]) -> Vec<Work> {
    let places = [
        (Place::Gpu, vec![Side::OursGpu]),
        (
            Place::Cpu,
            vec![Side::OursRelaxed, Side::OursThreads, Side::OursCpu],
        ),
    ];
    let mut works = Vec::new();
    for (place, sides) in places {
        for &tokens in tokens {
            works.push(Work {
                group: "real",
                place,
                name: format!("SmolLM2-135M Q4_1, {tokens} tokens"),
                spec: json!({ "kind": "real-step", "tokens": tokens }),
                sides: sides.clone(),
                operations: None,
                tokens: Some(tokens),
                is_fresh: true,
            });
        }
    }
    works
}

/// Realistic rows: most are short, some are long. Tokens of the first rows of LLaMA-Factory's
/// `data/alpaca_en_demo.json` (at ff6d4d12) under SmolLM2's chat template, and how many of them are trained, where 512
/// are kept.
#[rustfmt::skip]
const ALPACA: [(usize, usize); 24] = [
    (434, 396), (51, 7), (359, 321), (80, 39), (129, 82), (153, 89), (75, 35), (401, 352), (66, 16), (297, 260), (62, 21), (297, 259),
    (512, 462), (126, 86), (369, 323), (226, 186), (74, 15), (75, 25), (372, 337), (163, 126), (416, 375), (132, 85), (78, 22), (161, 124),
];

/// Short rows of which all but the first token is trained; the logarithms of their lengths are uniform from 8 to 64.
fn short_rows() -> Vec<(usize, usize)> {
    let lengths = draw("lengths", 64).into_iter().map(|value| {
        let share = f64::from(value) * 0.5 + 0.5;
        (8.0 * (share * 8f64.ln()).exp()) as usize
    });
    lengths.map(|length| (length, length - 1)).collect()
}

/// In batches of eight, as transformers' `Trainer` takes them unless told otherwise.
fn packing() -> Vec<Work> {
    let places = [
        (Place::Gpu, vec![Side::OursGpu]),
        (
            Place::Cpu,
            vec![Side::OursRelaxed, Side::OursThreads, Side::OursCpu],
        ),
    ];
    let sets = [
        ("64 rows of 8 to 64 tokens", short_rows()),
        ("24 rows of Alpaca", ALPACA.to_vec()),
    ];
    let mut works = Vec::new();
    for (place, sides) in places {
        for (what, rows) in &sets {
            works.push(Work {
                group: "packing",
                place,
                name: format!("SmolLM2-135M Q4_1, {what}, batches of 8, packed to 512"),
                spec: json!({ "kind": "packing", "rows": rows, "batchSize": 8, "maxSeqLength": 512 }),
                sides: sides.clone(),
                operations: None,
                tokens: None,
                is_fresh: false,
            });
        }
    }
    works
}

fn answers() -> Vec<Work> {
    let places = [
        (Place::Gpu, vec![Side::OursGpu]),
        (
            Place::Cpu,
            vec![Side::OursRelaxed, Side::OursThreads, Side::OursCpu],
        ),
    ];
    let mut works = Vec::new();
    for (place, sides) in places {
        for (name, is_tuned) in [("base", false), ("tuned", true)] {
            works.push(Work {
                group: "answer",
                place,
                name: format!("SmolLM2-135M Q4_1, {name}"),
                spec: json!({ "kind": "answer", "newTokens": 48, "isTuned": is_tuned }),
                sides: sides.clone(),
                operations: None,
                tokens: None,
                is_fresh: false,
            });
        }
    }
    works
}
