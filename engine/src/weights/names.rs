//! Names of tensors without what programs put around them.

/// What wrappers put into the names of a model's tensors: torch.compile, DistributedDataParallel and FSDP.
const WRAPPERS: [&str; 3] = [
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
];

/// The name without what wrappers put into it.
pub fn unwrapped(name: &str) -> String {
    let mut name = name.strip_prefix("module.").unwrap_or(name).to_owned();
    for wrapper in WRAPPERS {
        // As a whole part of the path.
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
