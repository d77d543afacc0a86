"""Loads merged models that the native tests wrote, with transformers and with llama.cpp, and compares their numbers.

Run: INLAY_MERGED=out cargo test .. merged::   (a folder for each adapter: F32.zip, F16.zip, Q8_0.zip, Q4_0.zip, PEFT's files)
     python tests/reference/verify_merged.py out [--bundled SmolLM2.gguf]
     python tests/reference/verify_merged.py out --gguf     (in an environment with gguf and safetensors)
     python tests/reference/verify_merged.py out --llama    (in an environment with llama-cpp-python)

The first run compares logits of each F32 folder with PEFT's `merge_and_unload` over the same base, and writes the losses next to
the zips. The second reads each GGUF file with llama.cpp's own Python package, quantizes the numbers of the F32 folder with it,
and compares every tensor bit by bit. The third loads each GGUF file with llama.cpp and prints its loss with those. The exit code is 1 if one differs.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import zipfile
from pathlib import Path

TOLERANCE = 1e-4
# Of the loss, as a share, by type.
LLAMA_TOLERANCES = {"F16": 5e-3, "Q8_0": 2e-2, "Q4_0": 3e-1}
TEXT_IDS = [5, 17, 42, 99, 7, 250, 31, 8, 64, 128, 3, 200, 11, 76, 301, 45]
MODELS = Path(__file__).parent.parent / "fixtures/model"


def cases(folder: Path) -> list[Path]:
    found = sorted(path.parent for path in folder.glob("*/F32.zip"))
    if not found:
        raise SystemExit(f"{folder} holds no merged model")
    return found


def with_transformers(folder: Path, bundled: Path | None) -> bool:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    fine = True
    for case in cases(folder):
        base_name = (case / "base.txt").read_text()
        if base_name == "bundled":
            if bundled is None:
                print(f"SKIPPED {case.name}: --bundled names no model")
                continue
            base = AutoModelForCausalLM.from_pretrained(bundled.parent, gguf_file=bundled.name, dtype=torch.float32)
        else:
            base = AutoModelForCausalLM.from_pretrained(MODELS / base_name, dtype=torch.float32)
        expected = PeftModel.from_pretrained(base, case).merge_and_unload().eval()
        with tempfile.TemporaryDirectory() as unpacked:
            with zipfile.ZipFile(case / "F32.zip") as archive:
                archive.extractall(unpacked)
            merged, report = AutoModelForCausalLM.from_pretrained(
                unpacked, dtype=torch.float32, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(unpacked)
        ids = torch.tensor([TEXT_IDS])
        with torch.no_grad():
            ours, theirs = merged.eval()(ids, labels=ids), expected(ids, labels=ids)
        error = ((ours.logits - theirs.logits).abs().max() / theirs.logits.abs().max()).item()
        missing = sorted(report["missing_keys"]) + sorted(report["unexpected_keys"])
        loss = ours.loss.item()
        is_fine = error < TOLERANCE and not missing and math.isfinite(loss)
        fine &= is_fine
        tied = merged.config.tie_word_embeddings
        print(
            f"{case.name:<14} loss {loss:.5f} PEFT {theirs.loss.item():.5f} logits within {error:.1e} tied {tied}"
            f" tokens {len(tokenizer)} {'' if is_fine else f'WRONG {missing}'}"
        )
        (case / "losses.json").write_text(json.dumps({"transformers": loss}))
    return fine


def with_gguf(folder: Path) -> bool:
    import numpy
    from gguf import GGMLQuantizationType, GGUFReader, TensorNameMap, quants
    from gguf.constants import MODEL_ARCH
    from safetensors.numpy import load_file

    fine = True
    for case in cases(folder):
        line = f"{case.name:<14}"
        for name in LLAMA_TOLERANCES:
            with tempfile.TemporaryDirectory() as unpacked:
                with zipfile.ZipFile(case / "F32.zip") as archive:
                    singles = load_file(archive.extract("model.safetensors", unpacked))
                    config = json.loads(archive.read("config.json"))
                with zipfile.ZipFile(case / f"{name}.zip") as archive:
                    reader = GGUFReader(archive.extract("merged.gguf", unpacked))
                family = config["model_type"]
                names = TensorNameMap(MODEL_ARCH[family.upper()], config["num_hidden_layers"])
                tensors = {tensor.name: tensor for tensor in reader.tensors}
                wrong, types = [], {}
                for hf_name, values in singles.items():
                    tensor = tensors.pop(names.get_name(hf_name, (".weight", ".bias")))
                    for end, heads in (("q_proj.weight", "num_attention_heads"), ("k_proj.weight", "num_key_value_heads")):
                        if family == "llama" and hf_name.endswith(end):
                            # As LlamaModel.permute of convert_hf_to_gguf.py.
                            halves = values.reshape(config[heads], 2, -1, values.shape[1])
                            values = halves.swapaxes(1, 2).reshape(values.shape)
                    kind = GGMLQuantizationType(tensor.tensor_type)
                    types[kind.name] = types.get(kind.name, 0) + 1
                    expected = numpy.ascontiguousarray(quants.quantize(values, kind)).tobytes()
                    if expected != numpy.ascontiguousarray(tensor.data).tobytes():
                        wrong.append(hf_name)
            is_fine = not wrong and not tensors
            fine &= is_fine
            line += f"  {name}: {types} {'bit-equal' if is_fine else f'WRONG {wrong[:3]} {list(tensors)[:3]}'}"
        print(line)
    return fine


def llama_loss(path: Path) -> float:
    import numpy
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=64, logits_all=True, verbose=False)
    model.eval(TEXT_IDS)
    logits = numpy.array(model.scores[: len(TEXT_IDS) - 1], dtype=numpy.float64)
    most = logits.max(axis=1, keepdims=True)
    log_sums = numpy.log(numpy.exp(logits - most).sum(axis=1)) + most[:, 0]
    model.close()
    return float((log_sums - logits[numpy.arange(len(TEXT_IDS) - 1), TEXT_IDS[1:]]).mean())


def with_llama_cpp(folder: Path) -> bool:
    fine = True
    for case in cases(folder):
        told = case / "losses.json"
        if not told.is_file():
            print(f"SKIPPED {case.name}: transformers has not scored it")
            continue
        expected = json.loads(told.read_text())["transformers"]
        line = f"{case.name:<14} transformers {expected:.5f}"
        for name, tolerance in LLAMA_TOLERANCES.items():
            with tempfile.TemporaryDirectory() as unpacked, zipfile.ZipFile(case / f"{name}.zip") as archive:
                loss = llama_loss(Path(archive.extract("merged.gguf", unpacked)))
            is_fine = abs(loss - expected) <= tolerance * expected
            fine &= is_fine
            line += f"  {name} {loss:.5f}{'' if is_fine else ' WRONG'}"
        print(line)
    return fine


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundled", type=Path)
    parser.add_argument("--gguf", action="store_true")
    parser.add_argument("--llama", action="store_true")
    arguments = parser.parse_args()
    if arguments.gguf:
        sys.exit(0 if with_gguf(arguments.folder) else 1)
    if arguments.llama:
        sys.exit(0 if with_llama_cpp(arguments.folder) else 1)
    sys.exit(0 if with_transformers(arguments.folder, arguments.bundled) else 1)
