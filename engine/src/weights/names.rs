//! Names of a Llama's tensors in HF checkpoints and in GGUF files.

/// Tensors outside of the blocks: HF, GGUF.
const MODEL_NAMES: [(&str, &str); 3] = [
    ("model.embed_tokens.weight", "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
];

/// Tensors of block N, after `model.layers.N.` and after `blk.N.`.
const BLOCK_NAMES: [(&str, &str); 9] = [
    ("input_layernorm.weight", "attn_norm.weight"),
    ("self_attn.q_proj.weight", "attn_q.weight"),
    ("self_attn.k_proj.weight", "attn_k.weight"),
    ("self_attn.v_proj.weight", "attn_v.weight"),
    ("self_attn.o_proj.weight", "attn_output.weight"),
    ("post_attention_layernorm.weight", "ffn_norm.weight"),
    ("mlp.gate_proj.weight", "ffn_gate.weight"),
    ("mlp.up_proj.weight", "ffn_up.weight"),
    ("mlp.down_proj.weight", "ffn_down.weight"),
];

const HF_BLOCKS: &str = "model.layers.";
const GGUF_BLOCKS: &str = "blk.";

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

/// The GGUF name of a tensor with an HF name.
pub fn gguf_from_hf(name: &str) -> Option<String> {
    translate(name, HF_BLOCKS, GGUF_BLOCKS, |&(hf, gguf)| (hf, gguf))
}

/// The HF name of a tensor with a GGUF name.
pub fn hf_from_gguf(name: &str) -> Option<String> {
    translate(name, GGUF_BLOCKS, HF_BLOCKS, |&(hf, gguf)| (gguf, hf))
}

/// Looks `name` up with `direction`, which makes (from, to) of a row of the tables.
fn translate<'a>(
    name: &str,
    from_blocks: &str,
    to_blocks: &str,
    direction: impl Fn(&'a (&'a str, &'a str)) -> (&'a str, &'a str),
) -> Option<String> {
    let look_up = |table: &'a [(&'a str, &'a str)], name: &str| {
        let mut rows = table.iter().map(&direction);
        rows.find_map(|(from, to)| (from == name).then_some(to))
    };
    let Some(rest) = name.strip_prefix(from_blocks) else {
        return look_up(&MODEL_NAMES, name).map(str::to_owned);
    };
    let (layer, tail) = rest.split_once('.')?;
    is_layer(layer).then_some(())?;
    let tail = look_up(&BLOCK_NAMES, tail)?;
    Some(format!("{to_blocks}{layer}.{tail}"))
}

/// A number as both formats write it: no sign, no leading zero.
fn is_layer(text: &str) -> bool {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain && (text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_translate_both_ways() {
        for (hf, gguf) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("lm_head.weight", "output.weight"),
            (
                "model.layers.29.mlp.down_proj.weight",
                "blk.29.ffn_down.weight",
            ),
            (
                "model.layers.0.self_attn.q_proj.weight",
                "blk.0.attn_q.weight",
            ),
        ] {
            assert_eq!(gguf_from_hf(hf).as_deref(), Some(gguf));
            assert_eq!(hf_from_gguf(gguf).as_deref(), Some(hf));
        }
        for (block, gguf_block) in BLOCK_NAMES {
            let (hf, gguf) = (
                format!("model.layers.7.{block}"),
                format!("blk.7.{gguf_block}"),
            );
            assert_eq!(gguf_from_hf(&hf).as_deref(), Some(gguf.as_str()));
            assert_eq!(hf_from_gguf(&gguf).as_deref(), Some(hf.as_str()));
        }
    }

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

    #[test]
    fn other_names_have_no_translation() {
        for name in [
            "",
            "blk.0.attn_q.bias",
            "blk.01.attn_q.weight",
            "blk.+1.attn_q.weight",
            "blk..attn_q.weight",
            "blk.0",
            "rope_freqs.weight",
        ] {
            assert_eq!(hf_from_gguf(name), None, "{name}");
        }
        assert_eq!(gguf_from_hf("embeddings.word_embeddings.weight"), None);
        assert_eq!(gguf_from_hf("blk.0.attn_q.weight"), None);
    }
}
