"""Makes the golden values of every adapter method: first gradients and a curve of 20 steps, by PEFT, on the tiny models.

Run: python tests/reference/methods.py [CASE ...]
"""

from __future__ import annotations

import copy
import json
import sys

import torch
from peft import IA3Config, LNTuningConfig, LoraConfig, PromptTuningConfig, VeraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from peft.utils import get_peft_model_state_dict
from transformers import AutoModelForCausalLM

from common import ALL_MODULES, FIXTURES, QV_MODULES, Row, global_norm, nll_sum, train, write_json, write_tensors

NORMS = ["input_layernorm", "post_attention_layernorm", "norm"]
RECIPE = {
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}
DECAYING = RECIPE | {"weight_decay": 0.05}
BASE = {"r": 4, "lora_alpha": 8, "target_modules": ALL_MODULES}
NUM_STEPS = 20


def lora(**settings):
    return LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)


# By file name: the model, our settings (as in a recipe, without their defaults), PEFT's configuration, the recipe.
CASES = {
    "rs_lora": ("odd", BASE, lora(**BASE, use_rslora=True), DECAYING),
    "dora": ("odd", BASE, lora(**BASE, use_dora=True), DECAYING),
    "lora_plus": (
        "odd",
        {"r": 4, "lora_alpha": 8, "target_modules": QV_MODULES, "loraplus_lr_ratio": 8.0},
        lora(r=4, lora_alpha=8, target_modules=QV_MODULES),
        DECAYING,
    ),
    "pissa": ("odd", BASE, lora(**BASE, init_lora_weights="pissa"), RECIPE),
    "olora": ("odd", BASE, lora(**BASE, init_lora_weights="olora"), RECIPE),
    "vera": (
        "odd",
        {"r": 6, "target_modules": ALL_MODULES},
        VeraConfig(r=6, target_modules=ALL_MODULES, save_projection=True, task_type="CAUSAL_LM"),
        RECIPE | {"learning_rate": 2e-2},
    ),
    "ia3": (
        "odd",
        {"target_modules": ["k_proj", "v_proj", "down_proj"]},
        IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
        ),
        RECIPE | {"learning_rate": 1e-2},
    ),
    "ln_tuning": (
        "odd",
        {},
        LNTuningConfig(target_modules=NORMS, task_type="CAUSAL_LM"),
        RECIPE | {"learning_rate": 1e-2},
    ),
    "ia3.mixed": (
        "tiny",
        {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": {"first": 1, "last": 1}},
        IA3Config(
            target_modules=["layers.1.self_attn.q_proj", "layers.1.mlp.down_proj"],
            feedforward_modules=["layers.1.mlp.down_proj"],
            task_type="CAUSAL_LM",
        ),
        RECIPE | {"learning_rate": 1e-2},
    ),
    # A head that is the embedding, blocks by range, ranks and alphas by pattern, norms trained, too.
    "lora.mixed": (
        "tiny",
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
            "rank_pattern": {"q_proj": 2, "layers.2.mlp.down_proj": 7},
            "alpha_pattern": {"v_proj": 3, "layers.1.self_attn.q_proj": 5},
            "layers_to_transform": {"first": 1, "last": 2},
            "train_norms": True,
        },
        lora(
            r=4,
            lora_alpha=8,
            target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
            rank_pattern={"layers.2.mlp.down_proj": 7, "q_proj": 2},
            alpha_pattern={"layers.1.self_attn.q_proj": 5, "v_proj": 3},
            layers_to_transform=[1, 2],
            modules_to_save=NORMS,
        ),
        RECIPE,
    ),
    "dora.mixed": (
        "tiny",
        {
            "r": 3,
            "lora_alpha": 4,
            "target_modules": ["k_proj", "o_proj", "gate_proj", "down_proj"],
            "rank_pattern": {"gate_proj": 5},
            "layers_to_transform": {"first": 0, "last": 1},
        },
        lora(
            r=3,
            lora_alpha=4,
            use_dora=True,
            target_modules=["k_proj", "o_proj", "gate_proj", "down_proj"],
            rank_pattern={"gate_proj": 5},
            layers_to_transform=[0, 1],
        ),
        RECIPE,
    ),
    "prompt_tuning": (
        "odd",
        {"num_virtual_tokens": 5},
        PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
        DECAYING | {"learning_rate": 1e-2},
    ),
    # A head that is the embedding.
    "prompt_tuning.tied": (
        "tiny",
        {"num_virtual_tokens": 3},
        PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
        RECIPE | {"learning_rate": 1e-2},
    ),
    # A head that is the embedding, and one that is not.
    "lora.head": (
        "tiny",
        {"r": 4, "lora_alpha": 8, "target_modules": QV_MODULES, "train_head": True},
        lora(r=4, lora_alpha=8, target_modules=QV_MODULES, modules_to_save=["lm_head"]),
        DECAYING,
    ),
    "dora.head": (
        "odd",
        BASE | {"train_head": True, "train_norms": True},
        lora(**BASE, use_dora=True, modules_to_save=[*NORMS, "lm_head"]),
        RECIPE,
    ),
    "lora": ("odd", BASE, lora(**BASE), DECAYING),
    # Families with a bias, which a scale of the output has under it in IA3 and not in DoRA, and with norms of heads.
    "lora.qwen2": ("qwen2", BASE, lora(**BASE), DECAYING),
    "dora.qwen2": ("qwen2", BASE, lora(**BASE, use_dora=True), DECAYING),
    "ia3.qwen2": (
        "qwen2",
        {"target_modules": ["q_proj", "k_proj", "v_proj", "down_proj"]},
        IA3Config(
            target_modules=["q_proj", "k_proj", "v_proj", "down_proj"],
            feedforward_modules=["down_proj"],
            task_type="CAUSAL_LM",
        ),
        RECIPE | {"learning_rate": 1e-2},
    ),
    "lora.qwen3": ("qwen3", BASE, lora(**BASE), DECAYING),
}


def trained(peft_model) -> dict[str, torch.nn.Parameter]:
    """The trained parameters by their names in `adapter_model.safetensors`."""
    if peft_model.active_peft_config.is_prompt_learning:
        return {"prompt_embeddings": peft_model.prompt_encoder["default"].embedding.weight}
    names = {tensor.data_ptr(): name for name, tensor in get_peft_model_state_dict(peft_model).items()}
    return {names[p.data_ptr()]: p for p in peft_model.parameters() if p.requires_grad}


def draw_start(case: str, parameters: dict[str, torch.nn.Parameter], generator: torch.Generator) -> None:
    """Moves every parameter off its start, so that none has a gradient of zero; starts from the base stay."""
    if case in ("pissa", "olora"):
        return
    with torch.no_grad():
        for parameter in parameters.values():
            drawn = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 2 and min(parameter.shape) > 1:
                parameter.copy_(drawn * 0.12)
            else:
                parameter.add_(drawn * 0.1)


def optimizer_of(case: str, peft_model, settings: dict, recipe: dict):
    if case != "lora_plus":
        return None
    return create_loraplus_optimizer(
        peft_model,
        optimizer_cls=torch.optim.AdamW,
        lr=recipe["learning_rate"],
        loraplus_lr_ratio=settings["loraplus_lr_ratio"],
        betas=(recipe["adam_beta1"], recipe["adam_beta2"]),
        eps=recipe["adam_epsilon"],
        loraplus_weight_decay=recipe["weight_decay"],
    )


def rows_of(value: list[dict]) -> list[Row]:
    return [Row(row["ids"], row["loss_mask"]) for row in value]


def main() -> None:
    wanted = sys.argv[1:] or CASES
    for index, (case, (name, settings, config, recipe)) in enumerate(CASES.items()):
        if case not in wanted:
            continue
        base = AutoModelForCausalLM.from_pretrained(
            FIXTURES / "model" / name, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        rows = rows_of(json.loads((FIXTURES / "model" / f"{name}.forward.json").read_text())["rows"])
        batches = json.loads((FIXTURES / "train" / f"{name}.batches.json").read_text())["batches"]
        batches = [[rows_of(micro) for micro in batch] for batch in batches]
        steps = [batches[step % len(batches)] for step in range(NUM_STEPS)]

        torch.manual_seed(700 + index)
        peft_model = get_peft_model(copy.deepcopy(base), config).eval()
        parameters = trained(peft_model)
        draw_start(case, parameters, torch.Generator().manual_seed(800 + index))
        tensors = {f"init.{key}": value.detach().clone() for key, value in parameters.items()}
        fixed = get_peft_model_state_dict(peft_model).items() - parameters.items()
        tensors |= {f"fixed.{key}": value.detach().clone() for key, value in fixed if key not in parameters}

        total, scored = nll_sum(peft_model, rows)
        (total / scored).backward()
        gradients = {key: value.grad.detach().clone() for key, value in parameters.items()}
        tensors |= {f"grad.{key}": value for key, value in gradients.items()}
        log = train(
            peft_model, steps, recipe, parameters=parameters, optimizer=optimizer_of(case, peft_model, settings, recipe)
        )
        tensors |= {f"final.{key}": value.detach().clone() for key, value in parameters.items()}
        write_tensors(FIXTURES / "adapters" / f"{case}.safetensors", tensors)
        write_json(
            FIXTURES / "adapters" / f"{case}.json",
            {
                "model": name,
                "adapter": {"method": case.split(".")[0], "r": 8, "lora_alpha": 16, "lora_dropout": 0.0}
                | {"target_modules": QV_MODULES}
                | settings,
                "recipe": recipe | {"gradient_accumulation_steps": 2, "max_steps": NUM_STEPS},
                "loss": total.item() / scored,
                "scored_tokens": scored,
                "grad_norm": global_norm(gradients.values()),
                "steps": log,
            },
        )
        print(case, name, f"{sum(p.numel() for p in parameters.values())} trained", f"loss {total.item() / scored:.4f}")
        print("   ", [f"{s['loss']:.3f}/{s['grad_norm']:.2f}" for s in log])


if __name__ == "__main__":
    main()
