"""Makes the golden values of the bundled SmolLM2-135M-Instruct Q4_1: logits, LoRA gradients and a 20-step loss curve.

Run: python tests/reference/smol.py --model SmolLM2-135M-Instruct.Q4_1.gguf   (about ten minutes on two cores)
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch

from base import encode, load_model, load_tokenizer, model_path, read_dataset, render, require_bundled, rule_tensor
from common import (
    FIXTURES,
    QV_MODULES,
    Row,
    adapter_parameters,
    add_lora,
    first_gradients,
    global_norm,
    mean_nll,
    set_adapter,
    train,
    write_json,
    write_tensors,
)

RANK, ALPHA = 8, 16
BOUND_A, BOUND_B = 1 / 24, 0.02
KEPT_LAYERS = [0, 15, 29]
STRIDE = 16
NUM_STEPS, BATCH, NUM_HELD_OUT = 20, 4, 8
RECIPE = {
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}

QUESTION = [{"role": "user", "content": "Name three things to pack for a day by the sea."}]
PASSAGE = """The keeper climbed the 199 steps every evening at six. Upstairs he lit the lamp, wound the clockwork and wrote
one line in the log: "Wind NW, 4; rain; 2 ships". On Sundays his daughter came along, and while he worked she read to
him from a book about stars, naïve and lovely, that had belonged to her mother. Добрый вечер, he would say to the sea.
if lamp.is_lit():
    log.append({"hour": 18, "wind": "NW"})
"""
CONVERSATIONS = [
    {"prompt": "Why do ships carry lanterns?", "completion": "So that others see them at night."},
    {
        "messages": [
            {"role": "system", "content": "Answer in few words."},
            {"role": "user", "content": "Is tea a herb?"},
            {"role": "assistant", "content": "No, a leaf."},
            {"role": "user", "content": "And mint?"},
            {"role": "assistant", "content": "Yes, it is."},
        ]
    },
]


def top(logits: torch.Tensor, count: int) -> dict:
    values, ids = logits.topk(count)
    return {"ids": ids.tolist(), "logits": [round(value, 6) for value in values.tolist()]}


def greedy(model, ids: list[int], count: int) -> dict:
    """The `count` most likely tokens one after the other, and the smallest lead that any had over the second."""
    new, lead = [], float("inf")
    with torch.no_grad():
        for _ in range(count):
            logits = model(input_ids=torch.tensor([ids + new]), use_cache=False).logits[0, -1]
            best = logits.topk(2)
            lead = min(lead, (best.values[0] - best.values[1]).item())
            new.append(int(best.indices[0]))
    return {"ids": new, "smallest_lead": lead}


def make_logits(model, tokenizer) -> None:
    prompts = [
        ("short", "The capital of France is", 12),
        ("chat", render(tokenizer, QUESTION, add_generation_prompt=True), 12),
        ("passage", PASSAGE, 0),
    ]
    as_json, tensors = [], {}
    exact_model = copy.deepcopy(model).double()
    for name, text, num_new in prompts:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
            exact = exact_model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        drift = (logits - exact).abs().max().item()
        tensors[f"{name}.last_logits"] = logits[-1, ::STRIDE]
        entry = {"name": name, "text": text, "ids": ids, "float64_difference": drift, "last_top": top(logits[-1], 50)}
        if num_new:
            entry["greedy"] = greedy(model, ids, num_new)
            print(name, entry["greedy"], repr(tokenizer.decode(entry["greedy"]["ids"])))
        entry["top"] = [top(position, 20) for position in logits]
        as_json.append(entry)
        print(name, len(ids), "tokens", drift)
    write_tensors(FIXTURES / "model" / "smol.logits.safetensors", tensors)
    write_json(FIXTURES / "model" / "smol.logits.json", {"stride": STRIDE, "prompts": as_json})


def start_adapter(peft_model, with_b: bool) -> None:
    """A by the rule; B by the rule or zero, as PEFT starts."""
    tensors = {}
    for name, parameter in adapter_parameters(peft_model).items():
        shape = tuple(parameter.shape)
        bound = BOUND_A if "lora_A" in name else BOUND_B if with_b else 0.0
        tensors[name] = rule_tensor(name, shape, bound) if bound else torch.zeros(shape)
    set_adapter(peft_model, tensors)


def relative_difference(gradients: dict, exact: dict) -> float:
    """The largest |a - b| / |b| (norms) of any tensor that is not zero."""
    return max(
        ((gradients[name].double() - other).norm() / other.norm()).item()
        for name, other in exact.items()
        if other.norm() > 0
    )


def make_gradients(peft_model, tokenizer) -> None:
    rows = [encode(tokenizer, row) for row in CONVERSATIONS]
    print("gradient rows", [len(row.ids) for row in rows])
    variants, tensors = {}, {}
    for label, with_b in [("b_zero", False), ("b_rule", True)]:
        start_adapter(peft_model, with_b)
        loss, scored, gradients = first_gradients(peft_model, rows)
        peft_model.double()
        exact_loss, _, exact = first_gradients(peft_model, rows)
        peft_model.float()
        variants[label] = {
            "loss": loss,
            "scored_tokens": scored,
            "grad_norm": global_norm(gradients.values()),
            "float64_difference": {
                "loss": abs(loss - exact_loss),
                "relative_gradient": relative_difference(gradients, exact),
            },
            "norms": {name: global_norm([gradient]) for name, gradient in gradients.items()},
        }
        for name, gradient in gradients.items():
            kept = any(f".layers.{layer}." in name for layer in KEPT_LAYERS)
            if kept and (with_b or "lora_B" in name):
                tensors[f"{label}.{name}"] = gradient
        print(label, loss, variants[label]["grad_norm"], variants[label]["float64_difference"])
    write_tensors(FIXTURES / "train" / "smol.gradients.safetensors", tensors)
    names = list(adapter_parameters(peft_model))
    check = [
        {"name": name, "bound": bound, "first": rule_tensor(name, (4,), bound).tolist()}
        for name, bound in [(names[0], BOUND_A), (names[1], BOUND_B), (names[-1], BOUND_B)]
    ]
    write_json(
        FIXTURES / "train" / "smol.gradients.json",
        {
            "lora": {"r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.0, "target_modules": QV_MODULES},
            "rule": {"bound_a": BOUND_A, "bound_b": BOUND_B, "check": check},
            "rows": [row.as_json() for row in rows],
            **variants,
        },
    )


def make_curve(peft_model, tokenizer) -> None:
    """20 steps of 4 rows, every row once, in the file's order; the last 8 rows are held out."""
    rows = [encode(tokenizer, row) for row in read_dataset([Path(__file__).parent / "rows.jsonl"])]
    training, held_out = rows[: NUM_STEPS * BATCH], rows[NUM_STEPS * BATCH :]
    assert len(held_out) == NUM_HELD_OUT
    print("curve rows", len(rows), "longest", max(len(row.ids) for row in rows))
    steps = [[training[BATCH * step : BATCH * (step + 1)]] for step in range(NUM_STEPS)]

    start_adapter(peft_model, with_b=False)
    before = mean_nll(peft_model, held_out)
    started = time.monotonic()
    log = train(peft_model, steps, RECIPE)
    print(f"{time.monotonic() - started:.0f} s", [f"{entry['loss']:.3f}/{entry['grad_norm']:.2f}" for entry in log])
    after = mean_nll(peft_model, held_out)
    norms = {name: global_norm([parameter]) for name, parameter in adapter_parameters(peft_model).items()}
    print("held out", before, after)

    peft_model.double()
    start_adapter(peft_model, with_b=False)
    exact = train(peft_model, steps, RECIPE)
    exact_after = mean_nll(peft_model, held_out)
    drift = max(abs(a["loss"] - b["loss"]) for a, b in zip(log, exact, strict=True))
    print("float64", drift, abs(after - exact_after))

    write_json(
        FIXTURES / "train" / "smol.curve.json",
        {
            "lora": {"r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.0, "target_modules": QV_MODULES},
            "rule": {"bound_a": BOUND_A, "bound_b": 0.0},
            "recipe": RECIPE | {"batch_size": BATCH, "gradient_accumulation_steps": 1, "max_steps": NUM_STEPS},
            "held_out_loss": {"before": before, "after": after},
            "float64_difference": {"loss": drift, "held_out_after": abs(after - exact_after)},
            "final_norms": norms,
            "steps": log,
            "rows": [row.as_json() for row in training],
            "held_out": [row.as_json() for row in held_out],
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="the GGUF file")
    parser.add_argument("--only", choices=["logits", "gradients", "curve"])
    arguments = parser.parse_args()
    path = model_path(arguments.model)
    require_bundled(path)
    tokenizer, model = load_tokenizer(path), load_model(path)
    if arguments.only in (None, "logits"):
        make_logits(model, tokenizer)
    peft_model = add_lora(model, QV_MODULES, RANK, ALPHA)
    if arguments.only in (None, "gradients"):
        make_gradients(peft_model, tokenizer)
    if arguments.only in (None, "curve"):
        make_curve(peft_model, tokenizer)


if __name__ == "__main__":
    main()
