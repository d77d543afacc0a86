"""Loads the adapters that the engine's tests wrote with PEFT itself and prints a line for each.

    INLAY_ADAPTERS=$PWD/target/adapters cargo test -p native --features cpu --test compute adapters
    python tests/reference/adapters.py target/adapters

PEFT's warnings are errors, no tensor may be missing or left over, the loss must be the one that the engine told, and
the logits must be other than the base's.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from common import FIXTURES, Row, nll_sum, pad

warnings.simplefilter("error", UserWarning)
# What it says of norm tuning, whatever the file.
warnings.filterwarnings("ignore", "Unsupported layer type")
# A head trained separately from its embedding is what the run asked for.
warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
warnings.filterwarnings("ignore", category=FutureWarning)


def check(folder: Path) -> str:
    told = json.loads((folder / "told.json").read_text())
    config = json.loads((folder / "adapter_config.json").read_text())
    known = set(type(PeftConfig.from_pretrained(folder)).__dataclass_fields__)
    assert set(config) <= known, f"unknown keys {set(config) - known}"
    source = FIXTURES / "model" / told["model"]
    rows = json.loads((FIXTURES / "model" / f"{told['model']}.forward.json").read_text())["rows"]
    rows = [Row(row["ids"], row["loss_mask"]) for row in rows]
    batch = {key: value for key, value in pad(rows).items() if key != "labels"}

    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        plain = model(**batch).logits
    model = PeftModel.from_pretrained(model, folder).eval()
    file = load_file(folder / "adapter_model.safetensors")
    loaded = get_peft_model_state_dict(model, save_embedding_layers=False)
    assert loaded.keys() == file.keys(), f"keys differ: {sorted(loaded.keys() ^ file.keys())}"
    assert all(torch.equal(loaded[name], file[name]) for name in file), "numbers differ"
    with torch.no_grad():
        total, scored = nll_sum(model, rows)
        # A learned prompt's logits come before the rows'.
        logits = model(**batch).logits[:, -plain.shape[1] :]
        moved = (logits - plain).abs().max().item()
    loss = total.item() / scored
    off = abs(loss - told["loss"])
    assert off < 1e-4, f"loss {loss}, the engine's is {told['loss']}"
    assert moved > 1e-2, "the logits are the base's"
    return f"{len(file):3} tensors  loss {loss:.6f}, off by {off:.1e}  logits move by {moved:.2f}"


def main(path: str) -> None:
    folders = sorted(folder for folder in Path(path).iterdir() if (folder / "told.json").exists())
    assert folders, f"no adapters in {path}"
    for folder in folders:
        print(f"{folder.name:<18} {check(folder)}")


if __name__ == "__main__":
    main(sys.argv[1])
