//! Qwen3 (arXiv 2505.09388): Llama with a norm of each head's queries and keys before RoPE, and heads whose size does
//! not follow from the hidden size. Source: transformers' `modeling_qwen3.py`.

use super::{
    ATTENTION_OUTPUT, Architecture, DOWN, Defaults, GATE, INPUT_NORM, KEY, KEY_NORM,
    POST_ATTENTION_NORM, QUERY, QUERY_NORM, UP, VALUE,
};

/// Whatever says `"model_type": "qwen3"`: the dense models. Those with experts (`qwen3_moe`) are another family.
pub static QWEN3: Architecture = Architecture {
    model_type: "qwen3",
    class: "Qwen3ForCausalLM",
    gguf: "qwen3",
    defaults: Defaults {
        num_key_value_heads: Some(32),
        head_dim: Some(128),
        max_position_embeddings: 32_768,
        bos_token_id: None,
        eos_token_id: None,
    },
    switches: &[("attention_bias", false), ("use_sliding_window", false)],
    block: &[
        INPUT_NORM,
        QUERY,
        QUERY_NORM,
        KEY,
        KEY_NORM,
        VALUE,
        ATTENTION_OUTPUT,
        POST_ATTENTION_NORM,
        GATE,
        UP,
        DOWN,
    ],
};
