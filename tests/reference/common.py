"""Code shared by the scripts that make the golden files: rows, batches, the loss, LoRA and the training loop.

Everything runs in float32 on the CPU with eager attention, so that a golden is what the plain formula gives.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import get_scheduler

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
ALL_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
QV_MODULES = ["q_proj", "v_proj"]
IGNORE = -100

torch.set_num_threads(1)


@dataclass
class Row:
    """Token ids and which of them are scored: `loss_mask[i]` says that `ids[i]` is predicted from those before it."""

    ids: list[int]
    loss_mask: list[int]

    def as_json(self) -> dict:
        return {"ids": self.ids, "loss_mask": self.loss_mask}


def pad(rows: list[Row]) -> dict[str, torch.Tensor]:
    """Rows as tensors `[b, t]`, padded on the right with id 0, which neither attention nor the loss sees."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    attention = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORE)
    for index, row in enumerate(rows):
        tokens = torch.tensor(row.ids)
        ids[index, : len(tokens)] = tokens
        attention[index, : len(tokens)] = 1
        labels[index, : len(tokens)] = torch.where(torch.tensor(row.loss_mask, dtype=torch.bool), tokens, IGNORE)
    assert (labels[:, 0] == IGNORE).all(), "the first token has nothing before it"
    return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def nll_sum(model, rows: list[Row]) -> tuple[torch.Tensor, int]:
    """Sum of the negative log-likelihoods (natural logarithm) of the scored tokens, and their number."""
    batch = pad(rows)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    # A learned prompt's logits come before the rows'.
    logits = logits[:, -batch["input_ids"].shape[1] :]
    labels = batch["labels"][:, 1:]
    total = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index=IGNORE, reduction="sum"
    )
    return total, int((labels != IGNORE).sum())


def mean_nll(model, rows: list[Row]) -> float:
    """Mean negative log-likelihood per scored token over `rows`, one row at a time."""
    total, count = 0.0, 0
    with torch.no_grad():
        for row in rows:
            nll, scored = nll_sum(model, [row])
            total += nll.item()
            count += scored
    return total / count


def add_lora(model, modules: list[str], rank: int, alpha: int):
    """The model with a LoRA adapter, without dropout, as PEFT builds it."""
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=modules, task_type="CAUSAL_LM")
    return get_peft_model(model, config).eval()


def adapter_parameters(peft_model) -> dict[str, torch.nn.Parameter]:
    """The trainable parameters by the names that `adapter_model.safetensors` has."""
    return {
        name.replace(".default.", "."): parameter
        for name, parameter in peft_model.named_parameters()
        if parameter.requires_grad
    }


def set_adapter(peft_model, tensors: dict[str, torch.Tensor]) -> None:
    parameters = adapter_parameters(peft_model)
    assert parameters.keys() == tensors.keys()
    assert parameters.keys() == get_peft_model_state_dict(peft_model).keys()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def first_gradients(peft_model, rows: list[Row]) -> tuple[float, int, dict[str, torch.Tensor]]:
    """Mean loss over `rows` as one batch, the number of scored tokens, and the gradient of every adapter tensor."""
    peft_model.zero_grad(set_to_none=True)
    total, count = nll_sum(peft_model, rows)
    (total / count).backward()
    gradients = {name: p.grad.detach().clone() for name, p in adapter_parameters(peft_model).items()}
    peft_model.zero_grad(set_to_none=True)
    return total.item() / count, count, gradients


def global_norm(tensors) -> float:
    """The L2 norm of all tensors together, accumulated in float64."""
    return math.sqrt(sum(tensor.double().square().sum().item() for tensor in tensors))


def train(peft_model, steps: list[list[list[Row]]], recipe: dict, parameters=None, optimizer=None) -> list[dict]:
    """AdamW over `steps[step][micro_batch][row]`: loss, learning rate and gradient norm (before clipping) of each.

    The loss of a step is the mean over all scored tokens of all its micro-batches, and that is what the gradient is of.
    `parameters` are those of LoRA where they are not given; weight decay leaves norms alone, as in `Trainer`.
    """
    named = parameters or adapter_parameters(peft_model)
    parameters = list(named.values())
    norms = [value for name, value in named.items() if "norm" in name]
    others = [value for name, value in named.items() if "norm" not in name]
    groups = [{"params": others}, {"params": norms, "weight_decay": 0.0}]
    optimizer = optimizer or torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe["learning_rate"],
        betas=(recipe["adam_beta1"], recipe["adam_beta2"]),
        eps=recipe["adam_epsilon"],
        weight_decay=recipe["weight_decay"],
    )
    kind = recipe["lr_scheduler_type"]
    scheduler = get_scheduler(
        "constant_with_warmup" if kind == "constant" else kind,
        optimizer,
        num_warmup_steps=recipe["warmup_steps"],
        num_training_steps=len(steps),
    )
    log = []
    for step, micro_batches in enumerate(steps, start=1):
        optimizer.zero_grad(set_to_none=True)
        scored = sum(sum(row.loss_mask) for rows in micro_batches for row in rows)
        total = 0.0
        for rows in micro_batches:
            nll, _ = nll_sum(peft_model, rows)
            (nll / scored).backward()
            total += nll.item()
        norm = torch.nn.utils.clip_grad_norm_(parameters, recipe["max_grad_norm"]).item()
        rate = scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()
        log.append(
            {"step": step, "loss": total / scored, "learning_rate": rate, "grad_norm": norm, "scored_tokens": scored}
        )
    return log


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Float32 safetensors, in order of name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensors[name].detach().float().contiguous() for name in sorted(tensors)}, path)


def write_json(path: Path, value) -> None:
    """JSON with one leaf object or list of scalars a line, so that a diff is readable and the file small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_render(value, 0) + "\n")


def _render(value, depth: int) -> str:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    nested = any(isinstance(item, dict) or (isinstance(item, list) and isinstance(value, list)) for item in items)
    if isinstance(value, dict) and depth == 0:
        nested = True
    if not nested or depth > 3:
        return json.dumps(value, ensure_ascii=False)
    space = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        body = [f"{json.dumps(key)}: {_render(item, depth + 1)}" for key, item in value.items()]
        return "{" + space + ("," + space).join(body) + space[:-1] + "}"
    body = [_render(item, depth + 1) for item in value]
    return "[" + space + ("," + space).join(body) + space[:-1] + "]"
