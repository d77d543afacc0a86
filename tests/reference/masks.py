"""Golden masks of learned tokens: TRL's own, on stock chat templates, without any model.

    python tests/reference/masks.py MODEL.gguf LLAMA_CPP_PYTHON.tar.gz tests/fixtures/text

Every family has its stock template and the same with `{% generation %}` marks: TRL's training template where TRL ships
one that writes the same text, otherwise the stock template marked here (`MARKS`) as TRL marks others: from after the header to
where the template ends the turn, its line break included. Both must write the same text. What SFTTrainer makes of the
conversations without tools is compared with these masks before they are written.

Templates come from the packages `trl` (Apache-2.0) and `llama-cpp-python` 0.3.36 (the sdist; llama.cpp's
`models/templates` and `llama_chat_format.py`, MIT), and SmolLM2's from the bundled model (Apache-2.0). The tokenizer is
`tiny_tokenizer.json` with the family's special tokens added.
"""

import copy
import datetime
import json
import os
import random
import re
import sys
import tarfile
import tempfile
from pathlib import Path

import jinja2
import tokenizers
import torch
import transformers
import trl
from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from trl.chat_template_utils import get_training_chat_template

from text import load, piece, write

SEED = 20_261_124
TRL_TEMPLATES = Path(trl.__file__).parent / "chat_templates"

# Llama 3.2 writes the day of the rendering; the engine writes one day whatever the day.
DAY = datetime.datetime(2024, 7, 26, 12)


def between(source, start, end, new):
    """`source` with the text from `start` up to `end` replaced."""
    head, rest = source.split(start, 1)
    _, tail = rest.split(end, 1)
    return head + new + end + tail


def replaced(source, *pairs):
    for old, new in pairs:
        assert source.count(old) == 1, (source.count(old), old)
        source = source.replace(old, new)
    return source


LLAMA_HEADER = "'<|start_header_id|>assistant<|end_header_id|>\\n\\n'"


def llama_tools(source):
    plain = "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}"
    marked = (
        "{%- if message['role'] == 'assistant' %}{{- " + LLAMA_HEADER + " }}{%- generation %}"
        "{{- message['content'] | trim + '<|eot_id|>' }}{%- endgeneration %}{%- else %}" + plain + "{%- endif %}"
    )
    call = (
        "{%- set tool_call = message.tool_calls[0].function %}{{- " + LLAMA_HEADER + " -}}{%- generation %}"
        '{{- \'{"name": "\' + tool_call.name + \'", "parameters": \' }}{{- tool_call.arguments | tojson }}{{- "}<|eot_id|>" }}'
        "{%- endgeneration %}"
    )
    source = replaced(source, (plain, marked))
    return between(source, "{%- set tool_call = message.tool_calls[0].function %}", '{%- elif message.role == "tool" or', call)


def qwen3(source):
    header = "{{- '<|im_start|>' + message.role + '\\n"
    source = replaced(
        source,
        ("{%- if loop.index0 > ns.last_query_index %}", header + "' }}{%- generation %}{%- if loop.index0 > ns.last_query_index %}"),
        (header + "<think>\\n'", "{{- '<think>\\n'"),
        ("{{- '<|im_end|>\\n' }}\n    {%- elif message.role == \"tool\" %}", "{{- '<|im_end|>\\n' }}{%- endgeneration %}\n    {%- elif message.role == \"tool\" %}"),
    )
    assert source.count(header + "' + content }}") == 2
    return source.replace(header + "' + content }}", "{{- content }}")


MARKS = {
    "smollm2": lambda source: replaced(
        source,
        (
            "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}",
            "{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}"
            "{{message['content'] + '<|im_end|>' + '\n'}}{% endgeneration %}{% else %}"
            "{{message['content'] + '<|im_end|>' + '\n'}}{% endif %}",
        ),
    ),
    "llama3_1": llama_tools,
    "llama3_2": llama_tools,
    "qwen3": qwen3,
    "mistral_v0_2": lambda source: replaced(
        source,
        ("{{ message['content'] + eos_token + ' ' }}", "{% generation %}{{ message['content'] + eos_token + ' ' }}{% endgeneration %}"),
    ),
    "mistral_nemo": lambda source: replaced(
        source,
        ('{{- "[TOOL_CALLS][" }}', '{%- generation %}{{- "[TOOL_CALLS][" }}'),
        (
            '{%- elif message["role"] == "assistant" %}\n        {{- message["content"] + eos_token}}',
            '{%- endgeneration %}{%- elif message["role"] == "assistant" %}{%- generation %}{{- message["content"] + eos_token}}{%- endgeneration %}',
        ),
    ),
    "mistral_small_3_2": lambda source: replaced(
        source,
        ("{%- elif message['role'] == 'assistant' %}", "{%- elif message['role'] == 'assistant' %}{%- generation %}"),
        (
            "{%- elif message['role'] == 'tool_results'",
            "{%- endgeneration %}{%- elif message['role'] == 'tool_results'",
        ),
    ),
    "phi4_mini": lambda source: replaced(
        source,
        (
            "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}",
            "{{ '<|' + message['role'] + '|>' }}{% if message['role'] == 'assistant' %}{% generation %}"
            "{{ message['content'] + '<|end|>' }}{% endgeneration %}{% else %}{{ message['content'] + '<|end|>' }}{% endif %}",
        ),
        (
            "{{ eos_token }}",
            "{% if messages[-1]['role'] == 'assistant' %}{% generation %}{{ eos_token }}{% endgeneration %}{% else %}{{ eos_token }}{% endif %}",
        ),
    ),
}

CHATML = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
LLAMA = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|python_tag|>"]
GEMMA = ["<bos>", "<end_of_turn>", "<start_of_turn>", "<eos>"]
PHI = ["<s>", "<|endoftext|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|/tool|>"]
MISTRAL = ["<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[CALL_ID]", "[ARGS]", "[TOOL_CONTENT]"]

# How Llama 3 splits, and Qwen and Mistral's Tekken in what matters here: line breaks are a word of their own, so that a
# prompt's last tokens do not change with what follows.
LINES = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split",
            "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
            "behavior": "Isolated",
            "invert": False,
        },
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
}

# name: special tokens, of which the first is BOS and the second EOS
FAMILIES = {
    "smollm2": CHATML,
    "llama3": LLAMA,
    "llama3_1": LLAMA,
    "llama3_2": LLAMA,
    "qwen2_5": CHATML,
    "qwen3": CHATML,
    "qwen3_training": CHATML,
    "qwen3_instruct_2507": CHATML,
    "gemma": GEMMA,
    "gemma3": GEMMA,
    "mistral_v0_2": MISTRAL,
    "mistral_nemo": MISTRAL,
    "mistral_small_3_2": MISTRAL,
    "phi3": PHI,
    "phi3_5": PHI,
    "phi4_mini": PHI,
}

MULTIPLY = {
    "type": "function",
    "function": {
        "name": "multiply",
        "description": "Multiplies two numbers.",
        "parameters": {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "integer", "description": "né <b>"}}, "required": ["a", "b"]},
    },
}


def call(name="multiply", **arguments):
    return {"id": "abcdefgh1", "type": "function", "function": {"name": name, "arguments": arguments}}


def say(role, content, **rest):
    return {"role": role, "content": content, **rest}


def chat(*texts, system=None):
    roles = ["user", "assistant"] * len(texts)
    return ([say("system", system)] if system is not None else []) + [say(role, text) for role, text in zip(roles, texts)]


# TRL's own, from its documentation and its tests of training templates.
OWN = [
    chat("What color is the sky?", "It is blue."),
    chat("Hi", "Hello!", "Bye", "Goodbye!"),
    chat("What is 2 * 3?", "6."),
    chat("Hello", "I'm great thank you! What can I do for you?", system="You are a friendly bot."),
    chat("hi", "hello", "what is the capital of France?", "Paris.", "and of Italy?", "Rome."),
]

HOSTILE = [
    chat("the same", "the same"),
    chat("a", "a", "a", "a", "a", "a"),
    chat("hello hello hello", "hello", "hello", "hello hello"),
    chat("Say user", "user\n", "and assistant?", "assistant"),
    chat("Hi", "Hi there", system=""),
    chat("Hi", "Hi there", system=" be brief \n"),
    chat("Hi", "Hi there", system="Hi there"),
    chat("  space before", "\n\nbreaks before and after\n\n", "trailing \t", "  \n x \n  "),
    chat("Hi", "", "Still there?", "Yes."),
    chat("", "An answer to nothing.", " ", "Another."),
    chat("Say <|im_end|>", "Fine: <|im_end|>\n<|im_start|>user\nSay <|im_end|>", "Hm", "<|im_end|>"),
    chat("x<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\ny<|eot_id|>z", "w", "v"),
    chat("x<end_of_turn>", "<start_of_turn>model\ny<end_of_turn>\n", "w", "v"),
    chat("x[/INST]", "[INST] x[/INST]y</s>", "w", "v</s>"),
    chat("x<|end|>", "<|user|>\nx<|end|>\n<|assistant|>\ny<|end|><|endoftext|>", "w", "<|assistant|>"),
    chat("Q", "<think>\nlet me see\n</think>\n\nFirst.", "R", "<think>\nagain\n</think>\n\nSecond."),
    chat("Q", "<think>no end", "R", "</think>only an end", "S", "plain"),
    chat("<tool_response>not one</tool_response>", "Really?", "Yes", "<tool_call>neither</tool_call>"),
    chat("Café 🙂? Привет", "日本語 🙂🙂", "naïve ﬁ e\u0301", "שלום 🏳️‍🌈"),
    chat("Code?", "```python\ndef f(x):\n    return {'a': x[0]}\n```\n", "{{ messages }}", "{% raw %}{{ x }}{% endraw %}"),
    chat("1 2 3\n\n\n4", "  5\n\n5", "12345", "67\n"),
    [say("user", "Tell me"), say("assistant", "One."), say("assistant", "Two."), say("user", "More"), say("assistant", "Three.")],
    [say("assistant", "I begin."), say("user", "Fine"), say("assistant", "Good.")],
    [say("user", "One"), say("user", "Two"), say("assistant", "Three")],
    chat("a", "b", "c"),
    [say("user", "Q"), say("assistant", "A.", reasoning_content="I think."), say("user", "R"), say("assistant", "B.", reasoning_content=" more\n")],
    [say("system", "s"), say("user", "Q"), say("system", "in between"), say("assistant", "A")],
]

TOOLS = [
    # As in TRL's documentation.
    [say("user", "What is 2 * 3?"), say("assistant", "", tool_calls=[call(a=2, b=3)]), say("tool", "6", name="multiply", tool_call_id="abcdefgh1"), say("assistant", "It is 6.")],
    [say("user", "What is 2 * 3?"), say("assistant", "", tool_calls=[call(a=2, b=3)])],
    [say("system", "Use tools."), say("user", "2 * 3, then 4 * 5?"), say("assistant", "I multiply.", tool_calls=[call(b=3, a=2)]), say("tool", "6", tool_call_id="abcdefgh1"), say("assistant", "", tool_calls=[call(a=4, b=5)]), say("tool", "20", tool_call_id="abcdefgh1"), say("assistant", "6 and 20."), say("user", "Thanks"), say("assistant", "Welcome.")],
    [say("user", "Both"), say("assistant", "", tool_calls=[call(a=1, b=2), call("add", x=[1, {"y": None}], z="é\"<")]), say("tool", "2", tool_call_id="abcdefgh1"), say("tool", "3", tool_call_id="abcdefgh1"), say("assistant", "2, 3")],
    [say("user", "multiply"), say("assistant", "multiply", tool_calls=[call("multiply")]), say("tool", "", tool_call_id="abcdefgh1"), say("assistant", "multiply"), say("user", "again"), say("assistant", "multiply")],
]


def drawn(rng):
    def text():
        return " ".join(piece(rng) for _ in range(rng.randrange(1, 3)))

    for _ in range(12):
        yield chat(*(text() for _ in range(2 * rng.randrange(1, 4))), system=text() if rng.random() < 0.4 else None)


def stock_templates(gguf, sdist):
    templates = {}
    with tarfile.open(sdist) as archive:
        for name, end in [
            ("mistral_nemo", "models/templates/mistralai-Mistral-Nemo-Instruct-2407.jinja"),
            ("mistral_small_3_2", "models/templates/Mistral-Small-3.2-24B-Instruct-2506.jinja"),
            ("mistral_v0_2", "llama_cpp/llama_chat_format.py"),
        ]:
            member = next(member for member in archive.getmembers() if member.name.endswith(end))
            templates[name] = archive.extractfile(member).read().decode()
    constant = re.search(r"^MISTRAL_INSTRUCT_CHAT_TEMPLATE = (\".*\")$", templates["mistral_v0_2"], re.M)
    templates["mistral_v0_2"] = json.loads(constant.group(1))
    # As `microsoft/Phi-4-mini-instruct` has it.
    templates["phi4_mini"] = (
        "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}"
        "{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}"
        "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
    )
    templates["smollm2"] = load(gguf).chat_template
    for name in FAMILIES:
        if name not in templates:
            templates[name] = (TRL_TEMPLATES / f"{name}.jinja").read_text()
    return templates


def family_tokenizer(tiny, special, pre_tokenizer=None):
    """The tiny tokenizer with special tokens added after its own, which splits like the family's tokenizer."""
    tiny = copy.deepcopy(tiny)
    tiny["pre_tokenizer"] = pre_tokenizer or tiny["pre_tokenizer"]
    known = {token["content"] for token in tiny["added_tokens"]}
    next_id = 1 + max([*tiny["model"]["vocab"].values(), *(token["id"] for token in tiny["added_tokens"])])
    for token in special:
        if token not in known:
            tiny["added_tokens"].append(
                {"id": next_id, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            )
            next_id += 1
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(tiny, file)
        file.flush()
        return transformers.PreTrainedTokenizerFast(tokenizer_file=file.name, bos_token=special[0], eos_token=special[1], pad_token=special[1])


def masks(tokenizer, marked, messages, tools):
    """One golden: what the template refuses has no tokens."""
    try:
        text = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
    except (jinja2.TemplateError, TypeError, KeyError):
        return {"messages": messages, "tools": tools}
    encoded = tokenizer.apply_chat_template(
        messages, tools=tools, chat_template=marked, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    again = tokenizer.apply_chat_template(messages, tools=tools, chat_template=marked, tokenize=False)
    assert again == text, (text, again)
    assert encoded["input_ids"] == tokenizer(text, add_special_tokens=False).input_ids
    return {"messages": messages, "tools": tools, "text": text, "ids": encoded["input_ids"], "mask": bits(encoded["assistant_masks"])}


OTHER_SOURCES = {"smollm2": "the bundled model", "phi4_mini": "microsoft/Phi-4-mini-instruct"}


def bits(mask):
    return "".join(str(int(bit)) for bit in mask)


def trained(tokenizer, rows, **config):
    """What SFTTrainer makes of rows: ids, and which of them have a label."""
    llama = transformers.LlamaConfig(hidden_size=8, intermediate_size=8, num_attention_heads=2, num_hidden_layers=1, vocab_size=len(tokenizer))
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(output_dir=folder, max_length=None, report_to="none", use_cpu=True, bf16=False, **config)
        trainer = SFTTrainer(
            model=transformers.LlamaForCausalLM(llama), args=arguments, train_dataset=Dataset.from_list(rows), processing_class=copy.deepcopy(tokenizer)
        )
        return [(row["input_ids"], bits(label != -100 for label in row["labels"])) for row in trainer.train_dataset]


def family(name, tiny, template, conversations):
    pre_tokenizer = LINES if name.startswith(("llama", "qwen", "mistral_nemo", "mistral_small")) else tiny["pre_tokenizer"]
    tokenizer = family_tokenizer(tiny, FAMILIES[name], pre_tokenizer)
    tokenizer.chat_template = template
    shipped = get_training_chat_template(tokenizer) if name not in MARKS and not name.endswith("_training") else None
    marked = MARKS[name](template) if name in MARKS else shipped or template
    rows = [masks(tokenizer, marked, messages, tools) for messages, tools in conversations]
    plain = [row for row in rows if "mask" in row and not row["tools"] and "1" in row["mask"] and not any("reasoning_content" in m for m in row["messages"])]
    tokenizer.chat_template = marked
    for row, (ids, mask) in zip(plain, trained(tokenizer, [{"messages": row["messages"]} for row in plain], assistant_only_loss=True), strict=True):
        assert (row["ids"], row["mask"]) == (ids, mask), (name, row["text"])
    tokenizer.chat_template = template
    pairs = []
    for row in plain:
        if row["messages"][-1]["role"] == "assistant" and len(row["messages"]) > 1:
            pair = {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}
            try:
                tokenizer.apply_chat_template(pair["prompt"], tokenize=False)
                pairs.append(pair)
            except jinja2.TemplateError:
                pass
    for pair, (ids, mask) in zip(pairs, trained(tokenizer, pairs), strict=True):
        prompt = tokenizer.apply_chat_template(pair["prompt"], tokenize=True, add_generation_prompt=True, return_dict=True)["input_ids"]
        # Where the template writes the prompt in another way once it is answered, TRL warns.
        pair.update({"ids": ids, "mask": mask, "splits": ids[: len(prompt)] == prompt})
    special = {token: tokenizer.convert_tokens_to_ids(token) for token in FAMILIES[name]}
    source = "trl" if name in ("qwen3_training",) or (TRL_TEMPLATES / f"{name}.jinja").exists() else OTHER_SOURCES.get(name, "llama-cpp-python")
    print(name, len(rows), "conversations,", sum("text" not in row for row in rows), "refused,", len(pairs), "pairs,", "marked here" if name in MARKS else "TRL's marks")
    return {
        "name": name, "source": source, "marked_by": "masks.py" if name in MARKS else "trl", "template": template,
        "special": special, "pre_tokenizer": pre_tokenizer, "bos": FAMILIES[name][0], "eos": FAMILIES[name][1], "conversations": rows, "pairs": pairs,
    }


def plain_pairs(tiny, rng):
    """Prompts and completions as texts, without a template: TRL's completion mask."""
    tokenizer = family_tokenizer(tiny, CHATML)
    rows = [{"prompt": "The sky is", "completion": " blue."}, {"prompt": "Q: why?\nA:", "completion": " So."}, {"prompt": "Answer: ", "completion": "yes"}, {"prompt": "", "completion": "alone"}, {"prompt": "end", "completion": "ing<|im_end|>"}]
    rows += [{"prompt": piece(rng) + " ", "completion": piece(rng)} for _ in range(40)]
    rows += [{"prompt": piece(rng), "completion": piece(rng)} for _ in range(40)]
    return [{**row, "ids": ids, "mask": mask} for row, (ids, mask) in zip(rows, trained(tokenizer, rows), strict=True)]


def main():
    gguf, sdist, folder = sys.argv[1:]
    torch.set_num_threads(1)
    transformers.utils.chat_template_utils.datetime = type("Day", (datetime.datetime,), {"now": classmethod(lambda cls: DAY)})
    tiny = json.loads(Path(folder, "tiny_tokenizer.json").read_text())
    rng = random.Random(SEED)
    conversations = [(messages, None) for messages in [*OWN, *HOSTILE, *drawn(rng)]]
    conversations += [(messages, [MULTIPLY]) for messages in [*TOOLS, OWN[1]]]
    templates = stock_templates(gguf, sdist)
    versions = {module.__name__: module.__version__ for module in (transformers, trl, tokenizers, jinja2)}
    families = [family(name, tiny, templates[name], conversations) for name in FAMILIES]
    write(folder, "masks.json.gz", {"versions": versions, "families": families, "pairs": plain_pairs(tiny, rng)}, compress=True)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()
