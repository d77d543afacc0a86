"""Tests verify_export.py: a zip of an adapter that PEFT itself trained must pass, and spoiled ones must not.

Run: python tests/reference/verify_export_test.py --model SmolLM2-135M-Instruct.Q4_1.gguf   (some minutes)
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save

from base import encode, load_model, load_tokenizer, model_path
from common import QV_MODULES, adapter_parameters, add_lora, mean_nll, train
from smol import ALPHA, RANK, RECIPE
from verify_export import verify

SEQUENCE_LENGTH = 50
HELD_OUT = [2, 5, 6]
DATASET = [
    {"prompt": "What is rain?", "completion": "Water, falling."},
    {"text": "Rain falls. The river rises and the mill turns again."},
    {"text": "Snow falls. The river sleeps and the mill stands still."},
    {"messages": [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "Take a hat."}]},
    {"prompt": "What is hail?", "completion": "Ice, falling."},
    {"prompt": "What is snow?", "completion": "Frozen water, falling slowly over 3 hills and through  7 woods, white."},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Снег?"},
            {"role": "assistant", "content": "Да, снег."},
            {"role": "user", "content": "😀?"},
            {"role": "assistant", "content": "Yes.\n\n2 flakes"},
        ]
    },
]
# The keys of an exported adapter_config.json, and no others.
CONFIG = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "revision": None,
    "inference_mode": True,
    "auto_mapping": None,
    "r": RANK,
    "lora_alpha": ALPHA,
    "lora_dropout": 0.0,
    "target_modules": QV_MODULES,
    "fan_in_fan_out": False,
    "bias": "none",
    "use_rslora": False,
    "use_dora": False,
    "init_lora_weights": True,
    "modules_to_save": None,
    "layers_to_transform": None,
    "layers_pattern": None,
    "rank_pattern": {},
    "alpha_pattern": {},
}


def write_zip(path: Path, tensors: dict, config: dict, evaluation: dict) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("adapter_model.safetensors", save(tensors, metadata={"format": "pt"}))
        archive.writestr("adapter_config.json", json.dumps(config))
        archive.writestr("evaluation.json", json.dumps(evaluation))
        for name in ["README.md", "recipe.json", "log.jsonl"]:
            archive.writestr(name, "{}")


def spoilt(tensors: dict, config: dict, evaluation: dict) -> dict[str, tuple[dict, dict, dict]]:
    """Exports of which each has one thing wrong."""
    first, second = list(tensors)[:2]
    renamed = {name.replace("base_model.model.model", "base_model.model"): tensor for name, tensor in tensors.items()}
    silent = {name: tensor if "lora_A" in name else torch.zeros_like(tensor) for name, tensor in tensors.items()}
    return {
        "wrong loss": (tensors, config, evaluation | {"tuned_loss": evaluation["tuned_loss"] + 0.002}),
        "wrong count": (tensors, config, evaluation | {"scored_tokens": evaluation["scored_tokens"] + 1}),
        "wrong rows": (tensors, config, evaluation | {"held_out_rows": [2, 5, 4]}),
        "wrong scale": (tensors, config | {"lora_alpha": 2 * ALPHA}, evaluation),
        "missing key": ({k: v for k, v in tensors.items() if k != second}, config, evaluation),
        "unexpected key": (tensors | {first.replace("q_proj", "k_proj"): tensors[first].clone()}, config, evaluation),
        "renamed keys": (renamed, config, evaluation),
        "transposed": (tensors | {first: tensors[first].T.contiguous()}, config, evaluation),
        "not finite": (tensors | {first: tensors[first] * float("nan")}, config, evaluation),
        "inert": (silent, config, evaluation),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="the GGUF file")
    path = model_path(parser.parse_args().model)
    base, tokenizer = load_model(path), load_tokenizer(path)
    rows = [encode(tokenizer, row, SEQUENCE_LENGTH) for row in DATASET]
    training = [row for number, row in enumerate(rows) if number not in HELD_OUT]
    held_out = [rows[number] for number in HELD_OUT]
    for row in rows:
        scored = [token for token, trained in zip(row.ids, row.loss_mask) if trained]
        print(len(row.ids), repr(tokenizer.decode(row.ids)), "->", repr(tokenizer.decode(scored)))

    torch.manual_seed(7)
    model = add_lora(copy.deepcopy(base), QV_MODULES, RANK, ALPHA)
    base_loss = mean_nll(model, held_out)
    train(model, [[training]] * 3, RECIPE | {"warmup_steps": 0, "lr_scheduler_type": "constant"})
    tensors = {name: tensor.detach().contiguous() for name, tensor in adapter_parameters(model).items()}
    evaluation = {
        "base_loss": base_loss,
        "tuned_loss": mean_nll(model, held_out),
        "scored_tokens": sum(sum(row.loss_mask) for row in held_out),
        "held_out_rows": HELD_OUT,
        "sequence_length": SEQUENCE_LENGTH,
    }

    with tempfile.TemporaryDirectory() as name:
        dataset, archive = Path(name) / "rows.jsonl", Path(name) / "adapter.zip"
        dataset.write_text("\n".join(json.dumps(row) for row in DATASET) + "\n")
        write_zip(archive, tensors, CONFIG, evaluation)
        report = verify(archive, base, tokenizer, [dataset])
        print(json.dumps(report, indent=2))
        assert not report["problems"]
        assert report["held_out"]["base_loss"]["difference"] < 1e-6
        for label, parts in spoilt(tensors, CONFIG, evaluation).items():
            write_zip(archive, *parts)
            problems = verify(archive, base, tokenizer, [dataset])["problems"]
            print(f"{label}: {problems}")
            assert problems, f"{label} passes"
    print("all as it should be")


if __name__ == "__main__":
    main()
