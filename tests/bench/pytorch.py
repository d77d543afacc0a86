"""The measured training step in PyTorch with PEFT: the limit that a browser is compared with.

Takes calls as lines of JSON, such as {"key": "cpu 2", "call": "prepare", "spec": {...}}, and answers each with one.
`prepare` makes a step ready under a key, `run` does it so many times, `check` tells the losses so far, `end` forgets it.
Where the spec says `drawn`, weights and ids are those that the other sides draw, number by number in Python, which only
small models bear; else they are PyTorch's own random ones. The model is transformers' Llama in f32, as users of PEFT
have it.
"""

import json
import math
import pathlib
import sys
import time

import numpy as np
import torch
import transformers
import peft


def draw(name, length):
    """Numbers in [-1, 1) that depend on the name alone: xorshift32, seeded with the name's FNV-1a hash."""
    state = 0x811C9DC5
    for byte in name.encode():
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    state = state or 1
    values = np.empty(length, dtype=np.float32)
    for at in range(length):
        state = (state ^ (state << 13)) & 0xFFFFFFFF
        state ^= state >> 17
        state = (state ^ (state << 5)) & 0xFFFFFFFF
        values[at] = (state >> 8) / 0x800000 - 1
    return values


def draw_matrix(name, rows, columns):
    return (draw(name, rows * columns) * np.float32(math.sqrt(3 / columns))).reshape(rows, columns)


def set_drawn(model):
    """Gives every parameter the values that its name stands for."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            name = name.removeprefix("base_model.model.").replace(".base_layer", "").removesuffix(".weight")
            if "lora_" in name:
                layer, module = name.split(".")[2], name.split(".")[4][0]
                if "lora_B" in name:
                    parameter.zero_()
                    continue
                values = draw_matrix(f"lora.{layer}.{module}.A", *parameter.shape)
            elif parameter.dim() == 1:
                values = 1 + draw(name, len(parameter)) * np.float32(0.125)
            else:
                values = draw_matrix(name, *parameter.shape)
            parameter.copy_(torch.from_numpy(values))


SHAPES = json.loads((pathlib.Path(__file__).parent / "site/shapes.json").read_text())


def make_model(spec, shape):
    config = transformers.LlamaConfig(
        vocab_size=spec["vocabulary"], hidden_size=shape["hidden"], intermediate_size=shape["intermediate"],
        num_hidden_layers=spec["layers"], num_attention_heads=shape["heads"], num_key_value_heads=shape["kvHeads"],
        head_dim=shape["headDim"], rms_norm_eps=shape["eps"], tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": shape["theta"]}, use_cache=False,
    )
    torch.manual_seed(1)
    model = transformers.LlamaForCausalLM(config)
    lora = peft.LoraConfig(
        r=shape["rank"], lora_alpha=shape["alpha"], lora_dropout=0.0, target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(model, lora)
    if spec["drawn"]:
        set_drawn(model)
    return model.to(spec["device"], torch.float32).train()


def draw_ids(spec):
    if not spec["drawn"]:
        return torch.randint(spec["vocabulary"], [spec["tokens"]])
    units = draw("ids", spec["tokens"]).astype(np.float64)
    return torch.from_numpy(np.floor((units * 0.5 + 0.5) * spec["vocabulary"]).astype(np.int64))


class Step:
    def __init__(self, spec):
        shape = SHAPES[spec["shape"]]
        self.spec = spec
        self.model = make_model(spec, shape)
        self.ids = draw_ids(spec)[None].to(spec["device"])
        adapter = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(adapter, lr=shape["learningRate"], weight_decay=0.0)
        self.losses = []

    def run(self, times):
        """Seconds of one step."""
        torch.set_num_threads(self.spec["threads"])
        start = time.perf_counter()
        for _ in range(times):
            loss = self.model(input_ids=self.ids, labels=self.ids).loss
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            # Awaits the device.
            self.losses.append(loss.item())
        if self.spec["device"] == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / times


def about():
    return {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def answer(steps, question):
    key, call = question["key"], question["call"]
    if call == "prepare":
        steps[key] = Step(question["spec"])
        return {}
    if call == "run":
        return steps[key].run(question["times"])
    if call == "check":
        return {"losses": steps[key].losses}
    if call == "end":
        steps.pop(key, None)
        return {}
    raise ValueError(f"there is no call {call}")


def main():
    print(json.dumps(about()), flush=True)
    steps = {}
    for line in sys.stdin:
        try:
            reply = {"value": answer(steps, json.loads(line))}
        except Exception as error:  # The bench reports it and goes on.
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
