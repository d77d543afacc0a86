"""Golden files for the tokenizer, the chat template and the masks of learned tokens.

    python tests/reference/text.py MODEL.gguf tests/fixtures/text

Made with transformers' own loading of the GGUF file. For this file transformers splits text by GPT-2's pattern alone,
where the model's own tokenizer (and llama.cpp, under the name `smollm`) first sets every digit apart. The ids here are
those of the model's own tokenizer; the few strings for which transformers' GGUF loading differs are listed with them.
"""

import base64
import gzip
import json
import os
import random
import shutil
import struct
import sys
import tempfile

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SEED = 20_261_123
NUM_STRINGS = 10_000

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<file_sep>", "<jupyter_code>", "<|im_end", "<|im_start|>assistant\n"]
WORDS = {
    "latin": "the of and to in is you that it he was for on are as with his they I at be this have from or one had by word but not what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see number no way could people my than first water been call who oil its now find long down day did get come made may part".split(),
    "accents": "naïve café jalapeño Ærøskøbing Łódź Dvořák façade über ångström São Ñandú Čeština coöperate Þingvellir ħobża İstanbul ıslak".split(),
    "cyrillic": "привет мир как дела сегодня завтра Москва Щёлково объявление съешь ещё этих мягких французских булок Київ їжак ґанок Ўзбекістан Њујорк".split(),
    "greek": "καλημέρα κόσμε ελληνικά Ὀδυσσεύς λόγος Ω ϑ".split(),
    "cjk": "你好 世界 機械学習 日本語 東京都 한국어 안녕하세요 漢字かな交じり文 カタカナ 简体字 繁體字 ㄅㄆㄇ 𠮷野家 ｆｕｌｌｗｉｄｔｈ".split(),
    "rtl": "שלום עולם مرحبا بالعالم اللُّغَة العربية ۱۲۳ ١٢٣ ݐݑ ירושלים".split(),
    "indic": "नमस्ते दुनिया हिन्दी தமிழ் বাংলা ಕನ್ನಡ ไทย สวัสดี ລາວ မြန်မာ ខ្មែរ १२३ ๑๒๓".split(),
    "emoji": ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👍🏽", "❤️", "🧑🏿‍🚀", "☃", "1️⃣", "🫠", "🤷‍♀️", "‼️"],
    "numeric": ["0", "7", "42", "1234567890", "3.14159", "1,000,000", "½", "²", "Ⅷ", "①", "٣", "९", "1e-5", "0xFF", "100%", "$19.99", "12:30", "2026-11-23", "⅓", "10²", "〇", "㊿"],
    "code": ["def f(x):", "    return x**2", "for (int i=0;i<n;++i) {", "}\n", "SELECT * FROM t;", "<div class=\"a\">", "&nbsp;", "#include <stdio.h>", "fn main() -> Result<(), E> {", "x != y && !z", "\tif", "// why:", "/* c */", "a_b_c", "camelCase", "HTTPServer2", "$(ls -la)", "s = 'it''s'", "\"\\n\"", "λx.x", "==>", "::<>", "...", "--", "@property"],
    "space": [" ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\n\n\n", " \n ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\ufeff"],
    "control": [chr(c) for c in list(range(0, 9)) + list(range(14, 32)) + [127, 128, 0x9F]] + ["\u202e", "\u2066", "\ufffd", "\ufffe", "\U0010ffff", "\ue000", "\u00ad"],
    "combining": ["e\u0301", "n\u0303", "a\u0308\u0304", "Z\u0351\u036b\u0343", "o\u0338", "\u0301", "q\u0307\u0323", "\u1100\u1161\u11a8"],
    "contraction": ["it's", "don't", "we'll", "I'm", "they've", "you'd", "IT'S", "’s", "'sam", "'", "''", "'re'"],
    "punctuation": list("!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~") + ["…", "—", "«»", "„“", "¿", "¡", "•", "™", "€", "№", "§", "…!?", "!!!", "???"],
}
SINGLES = [c for words in WORDS.values() for w in words for c in w]


def random_char(rng):
    while True:
        code = rng.choice([rng.randrange(0x80), rng.randrange(0x800), rng.randrange(0x10000), rng.randrange(0x110000)])
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def piece(rng):
    kind = rng.random()
    if kind < 0.80:
        name = rng.choice(list(WORDS))
        words = rng.choices(WORDS[name], k=rng.randrange(1, 6))
        return rng.choice([" ", " ", "", "  ", "\n", "\t"]).join(words)
    if kind < 0.88:
        return "".join(random_char(rng) for _ in range(rng.randrange(1, 12)))
    if kind < 0.93:
        return rng.choice(SPECIAL)
    if kind < 0.97:
        return rng.choice([" ", "\n", "\t", "  "]) * rng.randrange(1, 20)
    return "".join(rng.choices(SINGLES, k=rng.randrange(1, 15)))


def escaped(text, rng):
    """JSON of the text, some of it with escapes, and what reading it must give: U+FFFD for every lone surrogate."""
    if rng.random() > 0.04:
        return json.dumps(text, ensure_ascii=rng.random() < 0.3), text
    units = list(struct.unpack(f"<{len(text.encode('utf-16-le')) // 2}H", text.encode("utf-16-le")))
    for _ in range(rng.randrange(1, 4)):
        units.insert(rng.randrange(len(units) + 1), rng.randrange(0xD800, 0xE000))
    source = '"' + "".join(f"\\u{unit:04{rng.choice('xX')}}" for unit in units) + '"'
    read, index = [], 0
    while index < len(units):
        unit = units[index]
        low = units[index + 1] if index + 1 < len(units) else 0
        if 0xD800 <= unit < 0xDC00 and 0xDC00 <= low < 0xE000:
            read.append(chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)))
            index += 2
            continue
        read.append("\ufffd" if 0xD800 <= unit < 0xE000 else chr(unit))
        index += 1
    return source, "".join(read)


def strings(rng):
    yield from ['""', json.dumps(" "), json.dumps("The capital of France is")]
    seen = 3
    while seen < NUM_STRINGS:
        joiner = rng.choice([" ", " ", "", "\n", ""])
        text = joiner.join(piece(rng) for _ in range(rng.randrange(1, 7)))
        yield text
        seen += 1


def load(path):
    folder = tempfile.mkdtemp()
    os.symlink(os.path.abspath(path), os.path.join(folder, "model.gguf"))
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
    finally:
        shutil.rmtree(folder)


def write(folder, name, value, compress=False):
    data = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    path = os.path.join(folder, name)
    if compress:
        with open(path, "wb") as file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9, mtime=0, filename="") as out:
            out.write(data)
    else:
        with open(path, "wb") as file:
            file.write(data + b"\n")
    print(name, os.path.getsize(path), "bytes")


def token_goldens(own, loaded, rng):
    sources, ids, differing = [], [], {}
    for index, entry in enumerate(strings(rng)):
        source, text = (entry, json.loads(entry)) if index < 3 else escaped(entry, rng)
        sources.append(source)
        ids.append(own(text, add_special_tokens=False).input_ids)
        other = loaded(text, add_special_tokens=False).input_ids
        if other != ids[-1]:
            differing[index] = other
        assert own.decode(ids[-1]) == own.decode(ids[-1], skip_special_tokens=False)
    flat = [len(row) for row in ids], [token for row in ids for token in row]
    pack = lambda values: base64.b64encode(struct.pack(f"<{len(values)}H", *values)).decode()
    return {"json": sources, "lengths": pack(flat[0]), "ids": pack(flat[1]), "transformers_gguf": differing}


GENERATION = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n' }}"
    "{% endif %}{% if message['role'] == 'assistant' %}{{ '<|im_start|>assistant\\n' }}"
    "{% generation %}{{ message['content'] + '<|im_end|>\\n' }}{% endgeneration %}"
    "{% else %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def conversations(rng):
    def text():
        return " ".join(piece(rng) for _ in range(rng.randrange(1, 4))).strip() or "ok"

    yield [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"}]
    yield [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    for _ in range(500):
        turns = []
        if rng.random() < 0.4:
            turns.append({"role": "system", "content": text()})
        for _ in range(rng.randrange(1, 5)):
            turns += [{"role": "user", "content": text()}, {"role": "assistant", "content": text()}]
        # Special tokens inside contents would end a turn early; they are covered by the token goldens.
        if not any("<|" in turn["content"] or "<repo" in turn["content"] or "<file" in turn["content"] or "<jup" in turn["content"] for turn in turns):
            yield turns


def chat_goldens(tokenizer, rng):
    rows = []
    for messages in conversations(rng):
        plain = tokenizer.apply_chat_template(messages, tokenize=False)
        # The vocabulary lacks some bytes, and transformers loses its place where one of them starts a turn.
        if tokenizer.decode(tokenizer(plain, add_special_tokens=False).input_ids) != plain:
            continue
        prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        marked = tokenizer.apply_chat_template(
            messages, chat_template=GENERATION, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        assert tokenizer(plain, add_special_tokens=False).input_ids == marked["input_ids"]
        rows.append({
            "messages": messages,
            "text": plain,
            "prompt": prompt,
            "ids": marked["input_ids"],
            "mask": "".join(map(str, marked["assistant_masks"])),
        })
    return rows


TEMPLATES = {
    "llama-3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "llama-2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "python": "    {%- set ns = namespace(n=0) %}\n    {%- for m in messages -%}\n    {%- set ns.n = ns.n + 1 -%}\n    {{ ns.n }}. {{ m.role.upper() }}: {{ m['content'].split('e')[0].rstrip() }}|{{ m.content.startswith('H') }}|{{ none }}|{{ m | tojson }}|{{ [1, true, none, 'é<'] | tojson(indent=2) }}\n    {% endfor %}\n{{ messages | length }} {{ messages[-1]['content'][:3] }} {{ undefined_thing }} {{ 7 // 2 }} {{ 'a' ~ 1 }} {{ add_generation_prompt }}\n",
}


def template_goldens(tokenizer):
    messages = [
        {"role": "user", "content": " Hello there \n"},
        {"role": "assistant", "content": "Hi! \"quoted\" & <b>é</b>"},
        {"role": "user", "content": "Bye"},
    ]
    rows = []
    for name, source in TEMPLATES.items():
        for prompt in (False, True):
            text = tokenizer.apply_chat_template(messages, chat_template=source, tokenize=False, add_generation_prompt=prompt)
            rows.append({"name": name, "template": source, "add_generation_prompt": prompt, "text": text})
    return {"messages": messages, "renders": rows}


def tiny_tokenizer(folder, rng):
    """A small byte-level BPE trained here, so that a case of tokenizer.json needs no model file."""
    corpus = [" ".join(piece(rng) for _ in range(8)) for _ in range(400)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    path = os.path.join(folder, "tiny_tokenizer.json")
    tokenizer.save(path, pretty=False)
    print("tiny_tokenizer.json", os.path.getsize(path), "bytes")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=path, bos_token="<|im_start|>", eos_token="<|im_end|>")
    texts = [" ".join(piece(rng) for _ in range(rng.randrange(1, 5))) for _ in range(300)]
    return [{"text": text, "ids": fast(text, add_special_tokens=False).input_ids, "decoded": fast.decode(fast(text, add_special_tokens=False).input_ids)} for text in texts]


def main():
    model, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__, "python": sys.version.split()[0]}
    loaded, own = load(model), load(model)
    own.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokens = token_goldens(own, loaded, random.Random(SEED))
    print(len(tokens["transformers_gguf"]), "strings differ under transformers' GGUF loading")
    write(folder, "tokens.json.gz", {"versions": versions, **tokens}, compress=True)
    write(folder, "chat.json.gz", {"versions": versions, "conversations": chat_goldens(own, random.Random(SEED + 1)), **template_goldens(own)}, compress=True)
    write(folder, "tiny.json.gz", {"versions": versions, "texts": tiny_tokenizer(folder, random.Random(SEED + 2))}, compress=True)


if __name__ == "__main__":
    main()
