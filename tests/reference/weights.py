"""Makes the golden weights of the bundled SmolLM2-135M-Instruct Q4_1, as transformers dequantizes and reorders them.

`fixtures/weights/smollm2.json`: for every tensor of the model, under its HF name, its shape and the SHA-256 of its
weights (float32, little-endian, row after row; negative zeros as zeros), and a few whole rows as the hexadecimal of
those bytes.

Run: python tests/reference/weights.py [--model SmolLM2-135M-Instruct.Q4_1.gguf]
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy
import torch
import transformers
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURE = ROOT / "tests" / "fixtures" / "weights" / "smollm2.json"
BUNDLED = ROOT / ".material" / "SmolLM2-135M-Instruct.Q4_1.gguf"

ROWS = {
    "model.embed_tokens.weight": [504],
    "model.layers.0.self_attn.q_proj.weight": [1],
    "model.layers.0.self_attn.k_proj.weight": [33],
    "model.layers.29.self_attn.q_proj.weight": [575],
    "model.layers.15.self_attn.v_proj.weight": [1],
    "model.norm.weight": [0],
}


def weight_bytes(tensor: torch.Tensor) -> bytes:
    """The weights as little-endian float32; adding zero makes zeros of negative zeros."""
    return (tensor.float().numpy() + numpy.float32(0)).astype("<f4").tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    path = parser.parse_args().model
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    weights = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    assert model.config.tie_word_embeddings
    fixture = {
        "made_with": f"transformers {transformers.__version__}",
        "tensors": [
            {"name": name, "shape": list(tensor.shape), "sha256": hashlib.sha256(weight_bytes(tensor)).hexdigest()}
            for name, tensor in weights.items()
        ],
        "rows": [
            {"name": name, "row": row, "bytes": weight_bytes(weights[name].reshape(-1, weights[name].shape[-1])[row]).hex()}
            for name, rows in ROWS.items()
            for row in rows
        ],
    }
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    FIXTURE.write_text(json.dumps(fixture, indent=1) + "\n")


if __name__ == "__main__":
    main()
