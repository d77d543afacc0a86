//! Code shared by the kernels that work row by row: a row is read by one unit, or by a workgroup whose units add up in
//! workgroup memory.

use burn::tensor::{DType, Shape};
use burn_cubecl::{ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::calibration::Variant;

/// Units that share a row.
pub fn units_per_row(variant: Variant) -> usize {
    match variant {
        Variant::Register => 1,
        Variant::Shared => 64,
    }
}

/// Workgroups that WebGPU grants every device along one axis (`maxComputeWorkgroupsPerDimension`).
const MAX_CUBES: usize = 65_535;

/// Workgroups for `rows` rows: one per row if units share a row, otherwise one unit per row. They are spread over x and y, since
/// heads' norms have more rows than one axis takes. The last of them may have no row.
pub fn launch_size(rows: usize, units: usize) -> (CubeCount, CubeDim) {
    // Lanes of a SIMD group on a software GPU.
    const LANES: usize = 4;
    let (cubes, dim) = if units == 1 {
        (rows.div_ceil(LANES), LANES)
    } else {
        (rows, units)
    };
    let cubes_y = cubes.div_ceil(MAX_CUBES);
    let cubes_x = cubes.div_ceil(cubes_y.max(1));
    (
        CubeCount::Static(cubes_x as u32, cubes_y as u32, 1),
        CubeDim::new_1d(dim as u32),
    )
}

/// The row that a unit works on; past the end for the units of workgroups without a row.
#[cube]
pub fn row_of_unit(#[comptime] units: usize) -> usize {
    if comptime!(units == 1) {
        ABSOLUTE_POS
    } else {
        CUBE_POS
    }
}

#[cube]
pub fn first_of_unit(#[comptime] units: usize) -> usize {
    if comptime!(units == 1) {
        0usize.runtime()
    } else {
        UNIT_POS as usize
    }
}

/// The sum over the units of a row, known to all of them.
#[cube]
pub fn sum_of_units(value: f32, #[comptime] units: usize) -> f32 {
    if comptime!(units == 1) {
        value
    } else {
        let mut parts = Shared::<[f32]>::new_slice(units);
        let unit = UNIT_POS as usize;
        parts[unit] = value;
        sync_cube();
        let mut total = 0.0f32;
        for other in 0..units {
            total += parts[other];
        }
        sync_cube();
        total
    }
}

/// The largest of the units of a row, known to all of them.
#[cube]
pub fn max_of_units(value: f32, #[comptime] units: usize) -> f32 {
    if comptime!(units == 1) {
        value
    } else {
        let mut parts = Shared::<[f32]>::new_slice(units);
        let unit = UNIT_POS as usize;
        parts[unit] = value;
        sync_cube();
        let mut largest = value;
        for other in 0..units {
            largest = max(largest, parts[other]);
        }
        sync_cube();
        largest
    }
}

/// An uninitialized tensor of the same shape and element type.
pub fn empty_like(tensor: &CubeTensor) -> CubeTensor {
    empty(tensor, tensor.meta.shape().clone(), tensor.dtype)
}

/// An uninitialized tensor of this shape on the same device.
pub fn empty(tensor: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(
        tensor.client.clone(),
        tensor.device.clone(),
        shape.into(),
        dtype,
    )
}

/// The element type of a tensor, for the kernels that take halves and singles.
pub fn elements(tensor: &CubeTensor) -> ElemType {
    match tensor.dtype {
        DType::F16 => half::f16::elem_type_native(),
        _ => f32::elem_type_native(),
    }
}
