//! Llama (arXiv 2302.13971) and what was built like it: SmolLM2, TinyLlama. Source: transformers' `modeling_llama.py`.

use super::{
    ATTENTION_OUTPUT, Architecture, DOWN, Defaults, GATE, INPUT_NORM, KEY, POST_ATTENTION_NORM,
    QUERY, UP, VALUE,
};

/// Whatever says `"model_type": "llama"`. llama.cpp interleaves its queries and keys; see [`super::RowOrder`].
pub static LLAMA: Architecture = Architecture {
    model_type: "llama",
    class: "LlamaForCausalLM",
    gguf: "llama",
    defaults: Defaults {
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: 2048,
        bos_token_id: Some(1),
        eos_token_id: Some(2),
    },
    switches: &[("attention_bias", false), ("mlp_bias", false)],
    block: &[
        INPUT_NORM,
        QUERY.interleaved(),
        KEY.interleaved(),
        VALUE,
        ATTENTION_OUTPUT,
        POST_ATTENTION_NORM,
        GATE,
        UP,
        DOWN,
    ],
};
