"""Checks a zip that Inlay exported against transformers and PEFT: does the adapter load completely, and is the loss correct?

Run: python tests/reference/verify_export.py adapter.zip --model SmolLM2-135M-Instruct.Q4_1.gguf --dataset rows.jsonl
Prints a JSON report. The exit code is 1 where its `problems` are not empty. Without --dataset the losses are not
recomputed, only the adapter is loaded and merged.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path, PurePosixPath

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open

from base import encode, load_model, load_tokenizer, model_path, read_dataset
from common import Row, mean_nll, pad

TOLERANCE = 1e-3
FILES = ["adapter_model.safetensors", "adapter_config.json", "README.md", "recipe.json", "log.jsonl", "evaluation.json"]
LOADED_BY_PEFT = FILES[:2]
PROBE = "The capital of France is"


def read_zip(path: Path) -> dict[str, bytes]:
    """The files of the zip by name, which lie together at its root or in one folder."""
    with zipfile.ZipFile(path) as archive:
        configs = [name for name in archive.namelist() if PurePosixPath(name).name == "adapter_config.json"]
        if len(configs) != 1:
            raise SystemExit(f"{path} holds {len(configs)} files named adapter_config.json instead of one")
        folder = PurePosixPath(configs[0]).parent
        return {
            PurePosixPath(name).name: archive.read(name)
            for name in archive.namelist()
            if not name.endswith("/") and PurePosixPath(name).parent == folder
        }


def inspect_adapter(path: Path, problems: list[str]) -> set[str]:
    """Names of the tensors, after a look at their types, their values and the header's metadata."""
    with safe_open(path, "pt") as tensors:
        names = set(tensors.keys())
        if (tensors.metadata() or {}).get("format") != "pt":
            problems.append(f"the safetensors metadata is {tensors.metadata()} and not {{'format': 'pt'}}")
        for name in sorted(names):
            tensor = tensors.get_tensor(name)
            if tensor.dtype != torch.float32:
                problems.append(f"{name} is {tensor.dtype}, not float32")
            if not tensor.isfinite().all():
                problems.append(f"{name} holds values that are not finite")
    return names


def load_adapter(base, folder: Path, names: set[str], problems: list[str]):
    """The base with the adapter, or None where PEFT refuses it or warns of a missing or unexpected key."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model = PeftModel.from_pretrained(copy.deepcopy(base), folder).eval()
    except (UserWarning, RuntimeError, ValueError, TypeError, KeyError) as error:
        problems.append(f"PEFT does not load the adapter: {type(error).__name__}: {str(error)[:400]}")
        return None
    expected = set(get_peft_model_state_dict(model))
    for title, keys in [("missing", expected - names), ("unexpected", names - expected)]:
        if keys:
            problems.append(f"{len(keys)} {title} keys, such as {sorted(keys)[0]}")
    return model


def logits_of(model, row: Row) -> torch.Tensor:
    batch = pad([row])
    with torch.no_grad():
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits


def compare_losses(model, rows: list[Row], evaluation: dict, problems: list[str]) -> dict:
    """The losses of base and tuned on the held-out rows, and those that the export claims."""
    scored = sum(sum(row.loss_mask) for row in rows)
    if scored != evaluation["scored_tokens"]:
        problems.append(f"{scored} tokens are scored here, evaluation.json says {evaluation['scored_tokens']}")
    if not scored:
        problems.append("the held-out rows have no token to score")
        return {}
    tuned = mean_nll(model, rows)
    with model.disable_adapter():
        base = mean_nll(model, rows)
    report = {"rows": len(rows), "scored_tokens": scored}
    for name, loss in [("base_loss", base), ("tuned_loss", tuned)]:
        difference = abs(loss - evaluation[name])
        report[name] = {"here": loss, "evaluation.json": evaluation[name], "difference": difference}
        if not difference <= TOLERANCE:
            problems.append(f"{name} is {loss:.6f} here and {evaluation[name]} in evaluation.json")
    return report


def held_out_rows(tokenizer, dataset: list[Path], evaluation: dict, problems: list[str]) -> list[Row]:
    """The held-out rows of the dataset as token ids, cut to the run's length."""
    rows = read_dataset(dataset)
    encoded = []
    for number in evaluation["held_out_rows"]:
        if not 0 <= number < len(rows) or rows[number] is None:
            problems.append(f"held-out row {number} is no row of the dataset, which has {len(rows)}")
            continue
        row = encode(tokenizer, rows[number], evaluation["sequence_length"])
        if not any(row.loss_mask):
            problems.append(f"held-out row {number} has no token to score")
        encoded.append(row)
    return encoded


def verify(archive: Path, base, tokenizer, dataset: list[Path]) -> dict:
    """The report on one zip; `problems` is empty where all is well."""
    problems: list[str] = []
    files = read_zip(archive)
    problems += [f"the zip has no {name}" for name in FILES if name not in files]
    report = {"zip": archive.name, "problems": problems}
    if any(name not in files for name in LOADED_BY_PEFT):
        return report
    report["adapter_config"] = json.loads(files["adapter_config.json"])
    evaluation = json.loads(files["evaluation.json"]) if "evaluation.json" in files else None

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in LOADED_BY_PEFT:
            (folder / file).write_bytes(files[file])
        names = inspect_adapter(folder / "adapter_model.safetensors", problems)
        report["tensors"] = len(names)
        model = load_adapter(base, folder, names, problems)
    if model is None:
        return report

    rows = []
    if dataset and evaluation:
        rows = held_out_rows(tokenizer, dataset, evaluation, problems)
        report["held_out"] = compare_losses(model, rows, evaluation, problems)
    ids = tokenizer(PROBE, add_special_tokens=False).input_ids
    probe = max(rows, key=lambda row: len(row.ids), default=Row(ids, [0] * len(ids)))
    plain, tuned = logits_of(base, probe), logits_of(model, probe)
    merged = logits_of(model.merge_and_unload(), probe)
    report["largest_logit_change"] = (tuned - plain).abs().max().item()
    report["largest_merged_difference"] = (merged - tuned).abs().max().item()
    if not report["largest_logit_change"] > TOLERANCE:
        problems.append("the adapter does not change the logits")
    if not report["largest_merged_difference"] <= TOLERANCE:
        problems.append("the merged model differs from the base with the adapter")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zip", type=Path)
    parser.add_argument("--model", help="the GGUF file that was trained on")
    parser.add_argument("--dataset", type=Path, action="append", default=[], help="the dropped file; once for each")
    arguments = parser.parse_args()
    path = model_path(arguments.model)
    report = verify(arguments.zip, load_model(path), load_tokenizer(path), arguments.dataset)
    print(json.dumps(report, indent=2))
    sys.exit(1 if report["problems"] else 0)


if __name__ == "__main__":
    main()
