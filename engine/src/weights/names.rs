//! Names of tensors without what programs put around them.
//!
//! `torch.compile`, `DistributedDataParallel`, FSDP and activation checkpointing wrap a module in another one,
//! and a `state_dict` that is saved without unwrapping has their attribute names in its paths. The weights are
//! the same.

/// The attributes under which wrappers hold a module: `torch.compile`, FSDP, and PyTorch's activation
/// checkpointing. `DistributedDataParallel` uses `module.`, which is removed only at the start, as a model may
/// have one of its own.
const WRAPPERS: [&str; 3] = [
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
];

/// Returns the name without the parts that wrappers put into it.
///
/// ```text
/// module._orig_mod.lm_head.weight              lm_head.weight
/// model._orig_mod.layers.0.mlp.up_proj.weight  model.layers.0.mlp.up_proj.weight
/// my_orig_mod.x                                my_orig_mod.x        not a whole part of the path
/// ```
pub fn unwrapped(name: &str) -> String {
    let mut name = name.strip_prefix("module.").unwrap_or(name).to_owned();
    for wrapper in WRAPPERS {
        // Only as a whole part of the path.
        while let Some(at) = name.find(wrapper) {
            if at > 0 && !name[..at].ends_with('.') {
                break;
            }
            name.replace_range(at..at + wrapper.len(), "");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_leave_the_names() {
        for (name, plain) in [
            ("_orig_mod.model.norm.weight", "model.norm.weight"),
            ("model._orig_mod.layers.0.x", "model.layers.0.x"),
            ("module._orig_mod.lm_head.weight", "lm_head.weight"),
            (
                "_fsdp_wrapped_module.model.layers.1._checkpoint_wrapped_module.mlp.x",
                "model.layers.1.mlp.x",
            ),
            ("model.norm.weight", "model.norm.weight"),
            ("my_orig_mod.x", "my_orig_mod.x"),
        ] {
            assert_eq!(unwrapped(name), plain);
        }
    }
}
