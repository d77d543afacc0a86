"""Loads the GGUF adapters that the engine's tests wrote with llama.cpp itself and prints a line for each.

    python -m venv llama && llama/bin/pip install llama-cpp-python==0.3.36 gguf safetensors torch
    llama/bin/python tests/reference/gguf_load.py target/adapters

The bases are the tiny models, written here in F32 by llama.cpp's own `gguf` package. The loss must be the one that the
engine told, and other than the base's.
"""

import json
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
from llama_cpp import Llama
from safetensors.torch import load_file

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp rotates them: `convert_hf_to_gguf.py`, `LlamaModel.permute`."""
    rows, cols = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def write_base(name: str, path: Path) -> None:
    source = FIXTURES / "model" / name
    config = json.loads((source / "config.json").read_text())
    rope = config.get("rope_parameters", config)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    family = config["model_type"]
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_rope_dimension_count(head_dim)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[family.upper()], config["num_hidden_layers"])
    for tensor, values in load_file(source / "model.safetensors").items():
        values = values.float().numpy()
        if family == "llama" and ".q_proj." in tensor:
            values = permuted(values, heads)
        if family == "llama" and ".k_proj." in tensor:
            values = permuted(values, kv_heads)
        writer.add_tensor(names.get_name(tensor, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def loss(model: Llama, rows: list[dict]) -> float:
    total, scored = 0.0, 0
    for row in rows:
        model.reset()
        model.eval(row["ids"])
        logits = np.array(model.scores[: len(row["ids"])], dtype=np.float64)
        peaks = logits.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(logits - peaks).sum(axis=1)) + peaks[:, 0]
        for at, (token, is_scored) in enumerate(zip(row["ids"], row["loss_mask"])):
            if is_scored:
                total += log_sums[at - 1] - logits[at - 1, token]
                scored += 1
    return total / scored


def open_model(base: Path, adapter: Path | None = None) -> Llama:
    lora = str(adapter) if adapter else None
    return Llama(str(base), lora_path=lora, logits_all=True, n_ctx=64, n_batch=64, n_threads=2, verbose=False)


def check(folder: Path, bases: Path) -> str:
    told = json.loads((folder / "told.json").read_text())
    rows = json.loads((FIXTURES / "model" / f"{told['model']}.forward.json").read_text())["rows"]
    base = bases / f"{told['model']}.gguf"
    if not base.exists():
        write_base(told["model"], base)
    plain = loss(open_model(base), rows)
    tuned = loss(open_model(base, folder / "adapter.gguf"), rows)
    off = abs(tuned - told["loss"])
    assert off < 1e-3, f"{folder.name}: loss {tuned}, the engine's is {told['loss']}, the base's {plain}"
    assert abs(tuned - plain) > 1e-2, "the loss is the base's"
    return f"loss {tuned:.6f}, off by {off:.1e}; the base's {plain:.4f}"


def main(path: str) -> None:
    folders = sorted(folder for folder in Path(path).iterdir() if (folder / "adapter.gguf").exists())
    assert folders, f"no GGUF adapters in {path}"
    with tempfile.TemporaryDirectory() as bases:
        for folder in folders:
            print(f"{folder.name:<18} {check(folder, Path(bases))}")


if __name__ == "__main__":
    main(sys.argv[1])
