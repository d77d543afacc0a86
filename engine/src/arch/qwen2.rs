//! Qwen2 and Qwen2.5 (arXiv 2407.10671): Llama with a bias on queries, keys and values. Source: transformers'
//! `modeling_qwen2.py`.

use super::{
    ATTENTION_OUTPUT, Architecture, DOWN, Defaults, GATE, INPUT_NORM, KEY, KEY_BIAS,
    POST_ATTENTION_NORM, QUERY, QUERY_BIAS, UP, VALUE, VALUE_BIAS,
};

/// Whatever says `"model_type": "qwen2"`. Unlike Llama's, its biases are always there, without a switch.
pub static QWEN2: Architecture = Architecture {
    model_type: "qwen2",
    class: "Qwen2ForCausalLM",
    gguf: "qwen2",
    defaults: Defaults {
        num_key_value_heads: Some(32),
        head_dim: None,
        max_position_embeddings: 32_768,
        bos_token_id: None,
        eos_token_id: None,
    },
    switches: &[("use_sliding_window", false)],
    block: &[
        INPUT_NORM,
        QUERY,
        QUERY_BIAS,
        KEY,
        KEY_BIAS,
        VALUE,
        VALUE_BIAS,
        ATTENTION_OUTPUT,
        POST_ATTENTION_NORM,
        GATE,
        UP,
        DOWN,
    ],
};
