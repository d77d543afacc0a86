"""Loads the adapters that the engine's tests wrote for MLX with mlx-lm itself and prints a line for each.

    python -m venv mlx && mlx/bin/pip install "mlx[cpu]==0.32.4" "mlx-lm==0.32.2"
    mlx/bin/python tests/reference/mlx_load.py target/adapters

mlx-lm refuses tensors that it has no place for; the loss must be the one that the engine told, and other than the base's.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.tuner.utils import load_adapters
from mlx_lm.utils import load_model

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
mx.set_default_device(mx.cpu)


def loss(model, rows: list[dict]) -> float:
    total, scored = 0.0, 0
    for row in rows:
        ids = mx.array(row["ids"])[None]
        logits = model(ids)[0, :-1].astype(mx.float32)
        losses = nn.losses.cross_entropy(logits, ids[0, 1:])
        mask = mx.array(row["loss_mask"])[1:]
        total += (losses * mask).sum().item()
        scored += sum(row["loss_mask"])
    return total / scored


def check(folder: Path) -> str:
    told = json.loads((folder / "told.json").read_text())
    rows = json.loads((FIXTURES / "model" / f"{told['model']}.forward.json").read_text())["rows"]
    source = FIXTURES / "model" / told["model"]
    # mlx-lm knows the older spelling of the configuration alone.
    config = json.loads((source / "config.json").read_text())
    model, _ = load_model(source, model_config=config.get("rope_parameters", {}))
    model.set_dtype(mx.float32)
    base = loss(model, rows)
    model = load_adapters(model, folder / "mlx")
    model.eval()
    tuned = loss(model, rows)
    off = abs(tuned - told["loss"])
    assert off < 1e-3, f"loss {tuned}, the engine's is {told['loss']}"
    assert abs(tuned - base) > 1e-2, "the loss is the base's"
    return f"loss {tuned:.6f}, off by {off:.1e}; the base's {base:.4f}"


def main(path: str) -> None:
    folders = sorted(folder for folder in Path(path).iterdir() if (folder / "mlx").exists())
    assert folders, f"no MLX adapters in {path}"
    for folder in folders:
        print(f"{folder.name:<14} {check(folder)}")


if __name__ == "__main__":
    main(sys.argv[1])
