"""Makes adapters as other people bring them: trained and saved by PEFT alone, with the loss PEFT computes with them.

Run: python tests/reference/strangers.py
"""

from __future__ import annotations

import copy
import json
import shutil

import torch
from peft import IA3Config, LNTuningConfig, LoraConfig, PromptTuningConfig, VeraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from common import ALL_MODULES, FIXTURES, Row, nll_sum

NORMS = ["input_layernorm", "post_attention_layernorm", "norm"]
TASK = {"task_type": "CAUSAL_LM"}

# By folder: the model and PEFT's configuration, each with something of its own to read.
CASES = {
    "lora": ("odd", LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], lora_dropout=0.1, **TASK)),
    "lora.all_linear": ("tiny", LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", **TASK)),
    "lora.regex": (
        "tiny",
        LoraConfig(r=3, lora_alpha=6, target_modules=r".*\.layers\.[12]\.self_attn\.(q|o)_proj", **TASK),
    ),
    "lora.patterns": (
        "tiny",
        LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=["q_proj", "down_proj"],
            layers_to_transform=[0, 1],
            rank_pattern={"down_proj": 2},
            alpha_pattern={"model.layers.1.self_attn.q_proj": 5},
            modules_to_save=NORMS,
            **TASK,
        ),
    ),
    "lora.head": (
        "tiny",
        LoraConfig(r=2, lora_alpha=4, target_modules=["v_proj", "up_proj"], modules_to_save=["lm_head"], **TASK),
    ),
    "rs_lora": ("odd", LoraConfig(r=4, lora_alpha=8, target_modules=ALL_MODULES, use_rslora=True, **TASK)),
    "dora": ("odd", LoraConfig(r=4, lora_alpha=8, target_modules=ALL_MODULES, use_dora=True, **TASK)),
    "vera": ("odd", VeraConfig(r=6, target_modules=ALL_MODULES, save_projection=True, **TASK)),
    "ia3": (
        "odd",
        IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], **TASK),
    ),
    "prompt_tuning": ("odd", PromptTuningConfig(num_virtual_tokens=4, **TASK)),
    "ln_tuning": ("odd", LNTuningConfig(target_modules=NORMS, **TASK)),
}


def make(name: str, base: str, config) -> None:
    torch.manual_seed(17)
    source = FIXTURES / "model" / base
    rows = json.loads((FIXTURES / "model" / f"{base}.forward.json").read_text())["rows"]
    rows = [Row(row["ids"], row["loss_mask"]) for row in rows]
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(model, copy.deepcopy(config))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-2)
    model.eval()
    for _ in range(4):
        total, scored = nll_sum(model, rows)
        (total / scored).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        total, scored = nll_sum(model, rows)
    folder = FIXTURES / "strangers" / name
    shutil.rmtree(folder, ignore_errors=True)
    # Names of modules, not a path of this machine's.
    model.peft_config["default"].base_model_name_or_path = f"strangers/{base}"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    told = {"model": base, "loss": total.item() / scored}
    (folder / "told.json").write_text(json.dumps(told) + "\n")
    print(f"{name:<16} loss {told['loss']:.6f}")


if __name__ == "__main__":
    for name, (base, config) in CASES.items():
        make(name, base, config)
