//! IA3 (Liu et al., arXiv 2205.05638): a learned vector multiplies a projection's outputs, `l W x`, or the inputs of a
//! block's last projection, `W (l x)` (PEFT's `feedforward_modules`). `l` starts at one.

use protocol::TargetModule;

use super::{Dense, Fixed, HostModule, Parameters, Part, Start};
use crate::layers::projection::{Chain, ModuleAdapter};

/// Whether `l` scales the module's input.
pub fn scales_input(module: TargetModule) -> bool {
    module == TargetModule::DownProj
}

pub(super) fn start(start: &mut Start<'_>) -> Fixed {
    start.part(Part::Scale).fill(1.0);
    Fixed::Base
}

pub(super) fn forward(parameters: &Parameters<'_>, module: TargetModule) -> ModuleAdapter {
    let scale = Some(parameters.part(Part::Scale));
    let adapter = ModuleAdapter::new(Chain::Whole);
    if scales_input(module) {
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

/// `l W`, or `W` with its columns times `l`.
pub(super) fn merge(weight: &mut Dense<'_>, module: &HostModule<'_>) {
    let scale = module.part(Part::Scale);
    for (index, row) in weight.rows().enumerate() {
        if scales_input(module.module) {
            row.iter_mut().zip(scale).for_each(|(v, l)| *v *= l);
        } else {
            row.iter_mut().for_each(|v| *v *= scale[index]);
        }
    }
}
