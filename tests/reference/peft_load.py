"""Loads the zip that `cargo test -p native --features cpu --test export` leaves with PEFT itself.

    python tests/reference/peft_load.py target/tmp/export.zip

The base is a random Llama of that test's shape. PEFT's warnings are errors, no tensor may be missing or left over, the
numbers must arrive in place, and the logits must be those of `W + alpha / r B A`.
"""

import json
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def base_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()


def merged_by_hand(tensors: dict[str, torch.Tensor], scale: float) -> LlamaForCausalLM:
    model = base_model()
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, a in tensors.items():
            if ".lora_A." in name:
                path = name.removeprefix("base_model.model.").replace(".lora_A.", ".")
                weights[path] += scale * tensors[name.replace(".lora_A.", ".lora_B.")] @ a
    return model


def main(path: str) -> None:
    warnings.simplefilter("error", UserWarning)  # what PEFT says of missing tensors
    ids = torch.arange(20)[None]
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(path).extractall(folder)
        config = json.loads(Path(folder, "adapter_config.json").read_text())
        known = set(LoraConfig.__dataclass_fields__)
        assert set(config) <= known, set(config) - known
        model = PeftModel.from_pretrained(base_model(), folder).eval()
        tensors = load_file(f"{folder}/adapter_model.safetensors")
    loaded = get_peft_model_state_dict(model, save_embedding_layers=False)
    assert loaded.keys() == tensors.keys(), loaded.keys() ^ tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    with torch.no_grad():
        tuned = model(ids).logits
        plain = base_model()(ids).logits
        expected = merged_by_hand(tensors, config["lora_alpha"] / config["r"])(ids).logits
    change, difference = (tuned - plain).abs().max().item(), (tuned - expected).abs().max().item()
    print(f"{len(tensors)} tensors, none missing or unexpected; logits move by {change:.3f}, off by {difference:.1e}")
    assert change > 1e-2 and difference < 1e-4


if __name__ == "__main__":
    main(sys.argv[1])
