//! Adapter tensors by PEFT's names.

use std::ops::Range;

use engine::adapter::AdapterLayout;

/// Every trained tensor's name, as in `adapter_model.safetensors`, and its place in the layout's flat vector.
pub fn named_ranges(layout: &AdapterLayout) -> Vec<(String, Range<usize>)> {
    let slots = layout.slots.iter();
    slots
        .map(|slot| (slot.name(layout.spec.method), slot.range.clone()))
        .collect()
}

/// Parameters by the rule of the reference (A and B with a bound each).
pub fn parameters_by_rule(layout: &AdapterLayout, bound_a: f64, bound_b: f64) -> Vec<f32> {
    let mut parameters = vec![0.0; layout.num_parameters];
    for (name, range) in named_ranges(layout) {
        let bound = if name.contains("lora_A") {
            bound_a
        } else {
            bound_b
        };
        fill_by_rule(&name, bound as f32, &mut parameters[range]);
    }
    parameters
}

/// The rule for one tensor.
pub fn fill_by_rule(name: &str, bound: f32, values: &mut [f32]) {
    let seed = name.bytes().fold(0x811C_9DC5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    for (index, value) in (0u32..).zip(values) {
        let mut x = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9));
        x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
        x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
        x ^= x >> 16;
        *value = ((x >> 8) as f32 / (1u32 << 23) as f32 - 1.0) * bound;
    }
}
