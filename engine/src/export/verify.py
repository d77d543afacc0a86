import json

rows = []  # numbered through over all files, from 0
for path in {{dataset}}:
    text = open(path, encoding="utf-8-sig").read()
    if text.lstrip().startswith("["):
        rows += json.loads(text)
    else:
        rows += [line for line in text.split("\n") if line.strip()]

evaluation = json.load(open("evaluation.json"))
tokenizer.chat_template = open("chat_template.jinja", encoding="utf-8").read()


def render(messages, **options):
    return tokenizer.apply_chat_template(messages, tokenize=False, **options)


def encode(row):
    """Token ids of a row, and which of them are scored."""
    row = json.loads(row) if isinstance(row, str) else row
    if "text" in row:
        ids = tokenizer(row["text"]).input_ids + [tokenizer.eos_token_id]
        return ids, [True] * len(ids)
    messages = row.get("messages") or [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["completion"]},
    ]
    text = render(messages)
    spans = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            start = len(render(messages[:index], add_generation_prompt=True)) if index else text.index(message["content"])
            spans.append((start, start + len(message["content"])))
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    # The token that begins where the answer ends is the end-of-turn token.
    scored = [any(a <= end and b > start for start, end in spans) for a, b in encoding.offset_mapping]
    return encoding.input_ids, scored


def held_out_loss():
    total, count = 0.0, 0
    for number in evaluation["held_out_rows"]:
        ids, scored = encode(rows[number])
        ids, scored = ids[: evaluation["sequence_length"]], scored[: evaluation["sequence_length"]]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
        total += losses[torch.tensor(scored[1:])].sum().item()
        count += sum(scored[1:])
    return total / count, count


print("tuned:", *held_out_loss(), "expected:", evaluation["tuned_loss"], evaluation["scored_tokens"])
with model.disable_adapter():
    print("base:", *held_out_loss(), "expected:", evaluation["base_loss"])
