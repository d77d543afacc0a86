import json

evaluation = json.load(open("evaluation.json"))
# Token ids of the held-out rows as they were scored; labels are -100 where a token is context only.
rows = [json.loads(line) for line in open("held_out.jsonl")]


def held_out_loss():
    total, count = 0.0, 0
    for row in rows:
        labels = torch.tensor(row["labels"][1:])
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum").item()
        count += (labels != -100).sum().item()
    return total / count, count


print("tuned:", *held_out_loss(), "expected:", evaluation["tuned_loss"], evaluation["scored_tokens"])
with model.disable_adapter():
    print("base:", *held_out_loss(), "expected:", evaluation["base_loss"])
