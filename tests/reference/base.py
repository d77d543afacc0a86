"""The bundled model as transformers reads it, its tokenizer, and rows of a dataset as token ids and loss masks."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import Row

MODEL_SHA256_START = "b179c952"
END_OF_TURN = "<|im_end|>\n"


def model_path(given: str | None) -> Path:
    """The GGUF: what was given, else `$INLAY_MODEL`, else where `make model` puts it."""
    root = Path(__file__).resolve().parents[2]
    default = root / ".material" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    path = Path(given or os.environ.get("INLAY_MODEL") or default).resolve()
    if not path.is_file():
        raise SystemExit(f"{path} is not there: name the model with --model or fetch it with `make model`")
    return path


def require_bundled(path: Path) -> None:
    """Golden values belong to one file: refuses any other."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(MODEL_SHA256_START):
        raise SystemExit(f"{path} has sha256 {digest}, which is not the bundled model")


def load_model(path: Path):
    """The base model with dequantized weights, float32."""
    model, report = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    wrong = {key: value for key, value in report.items() if value and key != "error_msgs"}
    wrong.pop("missing_keys", None) if report["missing_keys"] == {"lm_head.weight"} else None
    if wrong:
        raise SystemExit(f"the base model did not load whole: {wrong}")
    return model.eval()


def load_tokenizer(path: Path):
    """The tokenizer of the GGUF with its pre-tokenizer put right.

    transformers takes the vocabulary and the merges but passes over `tokenizer.ggml.pre`, so that SmolLM2's splitting
    into single digits is lost: "  5" and "\\n\\n5" would become other ids than the model was trained on.
    """
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    return tokenizer


def read_dataset(paths: list[Path]) -> list[dict | None]:
    """All rows of JSON and JSONL files, numbered through; None is a row that is no JSON object.

    Rows of a JSONL file are its lines that are not blank.
    """
    rows: list[dict | None] = []
    for path in paths:
        text = path.read_text(encoding="utf-8-sig")
        try:
            whole = json.loads(text)
        except ValueError:
            whole = None
        if isinstance(whole, list):
            rows += [row if isinstance(row, dict) else None for row in whole]
            continue
        for line in text.split("\n"):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            rows.append(row if isinstance(row, dict) else None)
    return rows


def encode(tokenizer, row: dict, max_length: int | None = None) -> Row:
    """A row of any of the three shapes as ids and loss mask, cut on the right.

    Everything the template writes for an assistant turn after its header is scored: the content, the end-of-turn token
    and the line break after it, as TRL has it; or all of a `text` but its first token, which has nothing before it.
    """
    if "text" in row:
        ids = tokenizer(row["text"], add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
        return cut(ids, [0] + [1] * (len(ids) - 1), max_length)
    messages = row.get("messages") or [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["completion"]},
    ]
    text = render(tokenizer, messages)
    spans = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            start = len(render(tokenizer, messages[:index], add_generation_prompt=True)) if index else text.index(
                message["content"]
            )
            assert text[start:].startswith(message["content"] + END_OF_TURN)
            spans.append((start, start + len(message["content"]) + len(END_OF_TURN)))
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    mask = [int(any(a < end and b > start for start, end in spans)) for a, b in encoding.offset_mapping]
    mask[0] = 0
    return cut(encoding.input_ids, mask, max_length)


def render(tokenizer, messages: list[dict], add_generation_prompt: bool = False) -> str:
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)


def cut(ids: list[int], mask: list[int], max_length: int | None) -> Row:
    return Row(list(ids[:max_length]), list(mask[:max_length]))


def rule_tensor(name: str, shape: tuple[int, ...], bound: float) -> torch.Tensor:
    """A float32 tensor that any language can make again bit for bit; see README.md, "The rule"."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x01000193) & 0xFFFFFFFF
    count = 1
    for size in shape:
        count *= size
    x = (seed + torch.arange(count, dtype=torch.int64) * 0x9E3779B9) & 0xFFFFFFFF
    for shift, factor in [(16, 0x85EBCA6B), (13, 0xC2B2AE35)]:
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    x = x ^ (x >> 16)
    unit = (x >> 8).to(torch.float32) * 2.0**-23 - 1.0
    return (unit * torch.tensor(bound, dtype=torch.float32)).reshape(shape)
