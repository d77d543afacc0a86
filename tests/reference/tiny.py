"""Makes the tiny random models of `fixtures/model`, two Llamas and one of every other family, and their golden values.

Run: python tests/reference/tiny.py
"""

from __future__ import annotations

import copy
import json

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM

from common import (
    ALL_MODULES,
    FIXTURES,
    QV_MODULES,
    Row,
    add_lora,
    adapter_parameters,
    first_gradients,
    global_norm,
    nll_sum,
    pad,
    set_adapter,
    train,
    write_json,
    write_tensors,
)

VOCABULARY = 320
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "A fox ran over the hill and into the wood, where the other animals were waiting for the rain to end.",
    "The answer to the question is in the third line of the second page; read it again and tell me what it says.",
    "user\nWhat is the weather like today?\nassistant\nIt is raining, so take an umbrella with you when you go out.",
    "system\nYou are a helpful assistant.\n",
    "for item in items:\n    print(item, end='\\n')\n    return {'count': len(items)}",
]

# The older spelling of config.json, as on the hub, and the one that transformers 5 writes.
CONFIGS = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    },
    "odd": {
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
        "tie_word_embeddings": False,
        "eos_token_id": [2, 0],
        "dtype": "bfloat16",
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "sliding_window": 64,
        "max_window_layers": 1,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "attention_bias": False,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000,
        "rope_scaling": None,
        "sliding_window": None,
        "max_window_layers": 2,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    },
}
LLAMA_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "mlp_bias": False,
}
SHARED_CONFIG = {
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 128,
    "vocab_size": VOCABULARY,
}
SEEDS = {"tiny": 1, "odd": 2, "qwen2": 3, "qwen3": 4}
# What real Qwen tokenizers split by.
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
RANK, ALPHA = 4, 8
# 20 steps of 4 batches in turn, two micro-batches of two rows each: few enough rows to learn them by heart, so that a
# wrong update shows in the loss.
NUM_STEPS, NUM_BATCHES = 20, 4
ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
# The first clips every step, the second some.
VARIANTS = {
    "all": (
        ALL_MODULES,
        ADAM
        | {
            "learning_rate": 1e-3,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 2,
            "weight_decay": 0.01,
            "max_grad_norm": 1.0,
        },
    ),
    "qv": (
        QV_MODULES,
        ADAM
        | {
            "learning_rate": 1e-2,
            "lr_scheduler_type": "linear",
            "warmup_steps": 3,
            "weight_decay": 0.1,
            "max_grad_norm": 3.5,
        },
    ),
}


def make_tokenizer(is_qwen: bool) -> Tokenizer:
    """A byte-level BPE with SmolLM2's pre-tokenizer (single digits, then GPT-2's expression) or Qwen's."""
    tokenizer = Tokenizer(models.BPE())
    if is_qwen:
        tokenizer.normalizer = normalizers.NFC()
        split = pre_tokenizers.Split(Regex(QWEN_PATTERN), behavior="isolated")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    return tokenizer


def make_model(name: str, tokenizer: Tokenizer):
    """Writes config.json, model.safetensors and tokenizer.json; returns the model as transformers reads them back."""
    folder = FIXTURES / "model" / name
    folder.mkdir(parents=True, exist_ok=True)
    is_qwen = name.startswith("qwen")
    config = SHARED_CONFIG | ({} if is_qwen else LLAMA_CONFIG) | CONFIGS[name]
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))

    dtype = torch.bfloat16 if "bfloat16" in config.values() else torch.float32
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config.get("head_dim", hidden // config["num_attention_heads"])
    q, kv = config["num_attention_heads"] * heads, config["num_key_value_heads"] * heads
    generator = torch.Generator().manual_seed(SEEDS[name])

    def matrix(rows: int, columns: int, std: float) -> torch.Tensor:
        return (torch.randn(rows, columns, generator=generator) * std).to(dtype)

    def norm(size: int = hidden) -> torch.Tensor:
        return (1 + 0.1 * torch.randn(size, generator=generator)).to(dtype)

    tensors = {"model.embed_tokens.weight": matrix(VOCABULARY, hidden, 0.2), "model.norm.weight": norm()}
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = matrix(VOCABULARY, hidden, 0.2)
    for layer in range(config["num_hidden_layers"]):
        shapes = {
            "self_attn.q_proj": (q, hidden),
            "self_attn.k_proj": (kv, hidden),
            "self_attn.v_proj": (kv, hidden),
            "self_attn.o_proj": (hidden, q),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }
        for module, (rows, columns) in shapes.items():
            tensors[f"model.layers.{layer}.{module}.weight"] = matrix(rows, columns, 0.15)
        for module in ["input_layernorm", "post_attention_layernorm"]:
            tensors[f"model.layers.{layer}.{module}.weight"] = norm()
        if name == "qwen2":
            for module, size in {"q_proj": q, "k_proj": kv, "v_proj": kv}.items():
                bias = torch.randn(size, generator=generator) * 0.3
                tensors[f"model.layers.{layer}.self_attn.{module}.bias"] = bias.to(dtype)
        if name == "qwen3":
            for module in ["q_norm", "k_norm"]:
                tensors[f"model.layers.{layer}.self_attn.{module}.weight"] = norm(heads)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert [type(model).__name__] == config["architectures"]
    assert not any(report[key] for key in ["missing_keys", "unexpected_keys", "mismatched_keys"]), report
    return model.eval()


def random_row(length: int, generator: torch.Generator) -> Row:
    """A row with an unscored start and scores that flicker now and then, as in a conversation of several turns."""
    ids = torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()
    start = int(torch.randint(1, length - 2, (1,), generator=generator))
    mask = [int(i >= start and (i == length - 1 or ids[i] % 5 != 0)) for i in range(length)]
    return Row(ids, mask)


def forward(model, rows: list[Row]) -> dict[str, torch.Tensor]:
    """Logits `[b, t, v]` and hidden states `[b, t, d]`, zero where the row is padding."""
    hidden: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output):
            hidden[name] = output[0] if isinstance(output, tuple) else output

        return hook

    layers = model.model.layers
    hooks = [model.model.embed_tokens.register_forward_hook(keep("hidden.embed"))]
    hooks += [layer.register_forward_hook(keep(f"hidden.layer.{i}")) for i, layer in enumerate(layers)]
    hooks.append(model.model.norm.register_forward_hook(keep("hidden.norm")))
    batch = pad(rows)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    for hook in hooks:
        hook.remove()
    real = batch["attention_mask"][:, :, None]
    return {name: tensor * real for name, tensor in (hidden | {"logits": logits}).items()}


def make_goldens(name: str, model) -> None:
    generator = torch.Generator().manual_seed(100 + SEEDS[name])
    rows = [random_row(11, generator), random_row(7, generator)]
    batches = []
    for _ in range(NUM_BATCHES):
        lengths = torch.randint(4, 13, (2, 2), generator=generator).tolist()
        batches.append([[random_row(length, generator) for length in micro] for micro in lengths])
    steps = [batches[step % NUM_BATCHES] for step in range(NUM_STEPS)]

    with torch.no_grad():
        total, scored = nll_sum(model, rows)
    write_tensors(FIXTURES / "model" / f"{name}.forward.safetensors", forward(model, rows))
    write_json(
        FIXTURES / "model" / f"{name}.forward.json",
        {"rows": [row.as_json() for row in rows], "loss": total.item() / scored, "scored_tokens": scored},
    )
    as_json = [[[row.as_json() for row in micro] for micro in batch] for batch in batches]
    write_json(FIXTURES / "train" / f"{name}.batches.json", {"batches": as_json})

    for label, (modules, recipe) in VARIANTS.items():
        peft_model = add_lora(copy.deepcopy(model), modules, RANK, ALPHA)
        start = {
            key: torch.randn(parameter.shape, generator=generator) * (0.15 if "lora_A" in key else 0.1)
            for key, parameter in adapter_parameters(peft_model).items()
        }
        set_adapter(peft_model, start)
        loss, scored, gradients = first_gradients(peft_model, rows)
        log = train(peft_model, steps, recipe)

        exact = add_lora(copy.deepcopy(model), modules, RANK, ALPHA).double()
        set_adapter(exact, start)
        drift = max(abs(a["loss"] - b["loss"]) for a, b in zip(log, train(exact, steps, recipe), strict=True))
        finals = zip(adapter_parameters(peft_model).values(), adapter_parameters(exact).values(), strict=True)
        weight_drift = max((a.double() - b).abs().max().item() for a, b in finals)

        tensors = {f"init.{key}": value for key, value in start.items()}
        tensors |= {f"grad.{key}": value for key, value in gradients.items()}
        tensors |= {f"final.{key}": value for key, value in adapter_parameters(peft_model).items()}
        write_tensors(FIXTURES / "train" / f"{name}.{label}.safetensors", tensors)
        write_json(
            FIXTURES / "train" / f"{name}.{label}.json",
            {
                "lora": {"r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.0, "target_modules": modules},
                "recipe": recipe | {"gradient_accumulation_steps": 2, "max_steps": NUM_STEPS},
                "loss": loss,
                "scored_tokens": scored,
                "grad_norm": global_norm(gradients.values()),
                # How far float32 itself is from float64 after the same steps: what a test may not demand less than.
                "float64_difference": {"loss": drift, "final": weight_drift},
                "steps": log,
            },
        )
        print(name, label, f"loss {loss:.4f}", [f"{s['loss']:.3f}/{s['grad_norm']:.2f}" for s in log], drift, weight_drift)


def main() -> None:
    for name in CONFIGS:
        make_goldens(name, make_model(name, make_tokenizer(name.startswith("qwen"))))


if __name__ == "__main__":
    main()
