//! IA3 (Liu et al., arXiv 2205.05638): a learned vector `l` multiplies a projection's outputs, `l W x`, or the inputs
//! of a block's last projection, `W (l x)` (PEFT's `feedforward_modules`). `l`, `[1, out]` or `[1, in]`, starts at one.
//!
//! Where a projection has a bias `b`, the scale of its output includes it, `l (W x + b)`, as in PEFT. Its shape in
//! files is that of PEFT's parameter:
//!
//! | module | `l` | in the file |
//! |---|---|---|
//! | `down_proj` | `[1, in]` | `[1, in]` |
//! | all others | `[1, out]` | `[out, 1]` |
//!
//! IA3 has neither rank, alpha nor dropout.

use std::rc::Rc;

use burn::tensor::Tensor;
use protocol::{AdapterSpec, Failure, TargetModule};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{Adaptation, ModuleOnDevice, ModuleOnHost, Projections, Start, Started};
use crate::{
    adapter::{
        Matrix, ModelShape, NotLowRank, Part, Slot,
        merge::Dense,
        peft::{ConfigReader, ConfigWriter, PeftConfig, Remedy},
        slot::{ModulePart, ModuleSlots},
    },
    kernels::FrozenMatrix,
    layers::projection::{ModuleAdapter, Unchanged},
};

/// The vector `l`.
const SCALE: Part = Part::new("ia3_l");

/// Whether `l` scales the module's input; otherwise it scales the output.
fn scales_input(module: TargetModule) -> bool {
    module == TargetModule::DownProj
}

/// IA3 as [`super::of`] returns it.
pub(super) struct Ia3;

impl Adaptation for Ia3 {
    fn projections(&self) -> Option<&dyn Projections> {
        Some(self)
    }

    fn config(&self) -> &dyn PeftConfig {
        self
    }

    fn not_low_rank(&self) -> Option<NotLowRank> {
        Some(NotLowRank::Scales)
    }
}

impl Projections for Ia3 {
    fn parts(
        &self,
        _: usize,
        module: TargetModule,
        (in_features, out_features): (usize, usize),
    ) -> Vec<ModulePart> {
        let (len, shape_in_file) = match scales_input(module) {
            true => (in_features, vec![1, in_features]),
            false => (out_features, vec![out_features, 1]),
        };
        vec![ModulePart {
            part: SCALE,
            shape: [1, len],
            shape_in_file,
        }]
    }

    fn start<'a>(&self, mut start: Start<'a>, _: &'a mut ChaCha8Rng) -> Started<'a> {
        Box::pin(async move {
            start.part(SCALE)?.fill(1.0);
            let module: Rc<dyn ModuleOnDevice> = Rc::new(Scale::of(&start.slots)?);
            Ok(module)
        })
    }

    fn to_merge(
        &self,
        slots: &ModuleSlots<'_>,
        _: &[Rc<Matrix>],
    ) -> Result<Rc<dyn ModuleOnHost>, Failure> {
        Ok(Rc::new(Scale::of(slots)?))
    }
}

impl PeftConfig for Ia3 {
    fn peft_type(&self) -> &'static str {
        "IA3"
    }

    fn write(&self, spec: &AdapterSpec, _: &ModelShape, config: &mut ConfigWriter) {
        // It has no ranges of blocks, so the modules of some blocks are listed by their paths.
        let of = |module: TargetModule| match spec.layers_to_transform {
            Some(range) => {
                let paths = (range.first..=range.last)
                    .map(|layer| format!("layers.{layer}.{}", module.path()));
                paths.collect()
            }
            None => vec![module.name().to_owned()],
        };
        let all = spec.target_modules.iter();
        let scaled = all.clone().filter(|&&module| scales_input(module));
        let scaled: Vec<String> = scaled.flat_map(|&module| of(module)).collect();
        let all: Vec<String> = all.flat_map(|&module| of(module)).collect();
        config.put_modules(spec);
        config.put("target_modules", json!(all));
        config.put("feedforward_modules", json!(scaled));
        config.put("init_ia3_weights", json!(true));
    }

    /// Reads the modules, whose inputs may be scaled in the last projection of a block only.
    ///
    /// PEFT lets any module be a `feedforward_module`; another choice than ours is refused.
    fn read(&self, spec: &mut AdapterSpec, reader: &mut dyn ConfigReader) {
        if !reader.read_modules(spec) {
            return;
        }
        let names = reader.names("feedforward_modules").unwrap_or_default();
        let is_listed = |module: TargetModule| {
            let mut names = names.iter();
            names.any(|name| name.rsplit('.').next() == Some(module.name()))
        };
        let mut modules = spec.target_modules.iter();
        if !modules.all(|&module| is_listed(module) == scales_input(module)) {
            let what = "only down_proj is supported here";
            reader.refuse("feedforward_modules", what, Remedy::Merge);
        }
    }
}

/// Where the vector of a module is, and what it scales.
#[derive(Debug)]
struct Scale {
    /// `l` among the parameters.
    slot: Slot,
    /// Whether it scales the input; otherwise the output.
    is_of_input: bool,
}

impl Scale {
    /// Finds the vector of a module.
    ///
    /// # Errors
    /// As [`ModuleSlots::slot`].
    fn of(slots: &ModuleSlots<'_>) -> Result<Self, Failure> {
        Ok(Self {
            slot: slots.slot(SCALE)?,
            is_of_input: scales_input(slots.module),
        })
    }
}

impl ModuleOnHost for Scale {
    /// `l W`, its rows times `l`; or `W` with its columns times `l`.
    fn merge(&self, parameters: &[f32], weight: &mut Dense<'_>) {
        let scale = self.slot.on_host(parameters);
        for (index, row) in weight.rows().enumerate() {
            if self.is_of_input {
                row.iter_mut().zip(scale).for_each(|(v, l)| *v *= l);
            } else {
                row.iter_mut().for_each(|v| *v *= scale[index]);
            }
        }
    }

    /// `l b` where the output is scaled.
    fn merge_bias(&self, parameters: &[f32], bias: &mut [f32]) {
        if !self.is_of_input {
            let scale = self.slot.on_host(parameters);
            bias.iter_mut().zip(scale).for_each(|(b, l)| *b *= l);
        }
    }

    fn product(&self, _: &[f32]) -> Option<[Vec<f32>; 2]> {
        None
    }
}

impl ModuleOnDevice for Scale {
    fn forward(&self, flat: &Tensor<1>, _: &FrozenMatrix) -> ModuleAdapter {
        let scale = Some(self.slot.on_device(flat));
        let adapter = ModuleAdapter::new(Unchanged);
        if self.is_of_input {
            ModuleAdapter {
                input_scale: scale,
                ..adapter
            }
        } else {
            ModuleAdapter {
                output_scale: scale,
                ..adapter
            }
        }
    }
}
