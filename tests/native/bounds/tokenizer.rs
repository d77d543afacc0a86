//! Tokenizers.

use engine::tokenizer::{Tokenizer, TokenizerError};
use serde_json::{Value, json};

use crate::{bounded, kind::Kind};

/// A text that grows most: all of it is replaced.
fn texts() -> [String; 3] {
    ["a".repeat(10_000), " ".repeat(10_000), "<".repeat(10_000)]
}

/// A small byte-level tokenizer.
fn small() -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": null,
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, " ": 2, "ab": 3, "<": 4, "▁": 5}, "merges": ["a b"]},
    })
}

/// Reads a tokenizer and uses it, within the bounds.
fn measured(kind: &mut Kind, name: &str, file: &Value) -> Result<Vec<u32>, TokenizerError> {
    let file = serde_json::to_vec(file).unwrap();
    measured_bytes(kind, name, &file)
}

fn measured_bytes(kind: &mut Kind, name: &str, file: &[u8]) -> Result<Vec<u32>, TokenizerError> {
    let texts = texts();
    let text_bytes: usize = texts.iter().map(String::len).sum();
    bounded(kind, name, file.len() + text_bytes, || {
        let tokenizer = Tokenizer::from_json(file, None)?;
        let mut ids = Vec::new();
        for text in &texts {
            ids = tokenizer.encode_with_special_tokens(text)?;
            tokenizer.guard(text, '\u{10FF00}');
            tokenizer.encode_guarded(text, '\u{10FF00}')?;
            tokenizer.decode(&ids, false)?;
        }
        Ok(ids)
    })
}

fn with(part: &str, value: Value) -> Value {
    let mut file = small();
    file[part] = value;
    file
}

fn repeated(count: usize, value: &Value) -> Vec<Value> {
    vec![value.clone(); count]
}

fn replace(from: &str, to: &str) -> Value {
    json!({"type": "Replace", "pattern": {"String": from}, "content": to})
}

#[test]
fn what_would_grow_is_refused() {
    let mut kind = Kind::new("tokenizers that would grow");
    let long = "a".repeat(64);
    let prepend = json!({"type": "Prepend", "prepend": "ab"});
    let special = json!({"id": "x", "ids": vec![1; 20_000], "tokens": ["x"]});
    let template = |pieces: usize, ids: usize| {
        json!({"type": "TemplateProcessing",
            "single": repeated(pieces, &json!({"SpecialToken": {"id": "x", "type_id": 0}})), "pair": [],
            "special_tokens": {"x": {"id": "x", "ids": vec![1; ids], "tokens": ["x"]}}})
    };
    let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let sequence = |key: &str, steps: Vec<Value>| json!({"type": "Sequence", key: steps});
    let mut deep = replace("a", "aa");
    for _ in 0..20 {
        deep = sequence("normalizers", vec![deep, replace("a", "aa")]);
    }
    let added = |count: usize, length: usize| {
        let token = |id: usize| {
            let content = format!("<{}{id}>", "0".repeat(length));
            json!({"id": 6 + id, "content": content, "special": true})
        };
        (0..count).map(token).collect::<Vec<_>>()
    };
    let cases = [
        (
            "twelve replacements",
            "normalizer",
            sequence("normalizers", repeated(12, &replace("a", "aaaa"))),
        ),
        ("one long replacement", "normalizer", replace("a", &long)),
        (
            "replacements in turn",
            "normalizer",
            sequence(
                "normalizers",
                vec![
                    replace("a", "bbb"),
                    replace("b", "aaa"),
                    replace("a", "bbb"),
                ],
            ),
        ),
        ("nested replacements", "normalizer", deep),
        ("an empty pattern", "normalizer", replace("", "a")),
        (
            "30,000 prepended",
            "normalizer",
            sequence("normalizers", repeated(30_000, &prepend)),
        ),
        (
            "5 long prepended",
            "normalizer",
            sequence(
                "normalizers",
                repeated(5, &json!({"type": "Prepend", "prepend": long})),
            ),
        ),
        (
            "200,000 normalizers",
            "normalizer",
            sequence("normalizers", repeated(200_000, &json!({"type": "NFKD"}))),
        ),
        (
            "a charsmap",
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "A".repeat(900_000)}),
        ),
        (
            "special tokens 40,000 x 20,000",
            "post_processor",
            template(40_000, 20_000),
        ),
        ("special tokens 10 x 10", "post_processor", template(10, 10)),
        (
            "50,000 processors",
            "post_processor",
            sequence(
                "processors",
                repeated(
                    50_000,
                    &json!({"type": "BertProcessing", "sep": ["x", 1], "cls": ["x", 1]}),
                ),
            ),
        ),
        (
            "a special token of 20,000 ids",
            "post_processor",
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [], "special_tokens": {"x": special}}),
        ),
        (
            "decoders that replace",
            "decoder",
            sequence("decoders", repeated(12, &replace("a", "aaaa"))),
        ),
        (
            "100,000 decoders",
            "decoder",
            sequence("decoders", repeated(100_000, &json!({"type": "Fuse"}))),
        ),
        ("repetitions", "pre_tokenizer", split("(\\p{L}{100}){100}")),
        (
            "repetitions seen ahead",
            "pre_tokenizer",
            split(&"(?=\\p{L}{200})".repeat(500)),
        ),
        (
            "endless repetitions",
            "pre_tokenizer",
            split("a{99999999999999999999}"),
        ),
        (
            "100,000 splits",
            "pre_tokenizer",
            sequence("pretokenizers", repeated(100_000, &split("a"))),
        ),
        (
            "long patterns",
            "pre_tokenizer",
            sequence("pretokenizers", repeated(20, &split(&"\\p{L}".repeat(200)))),
        ),
        (
            "100,000 added tokens",
            "added_tokens",
            Value::from(added(100_000, 6)),
        ),
        (
            "long added tokens",
            "added_tokens",
            Value::from(added(3_000, 500)),
        ),
        (
            "an endless added token",
            "added_tokens",
            Value::from(added(1, 1_000_000)),
        ),
    ];
    for (name, part, value) in cases {
        let result = measured(&mut kind, name, &with(part, value));
        assert!(
            matches!(
                result,
                Err(TokenizerError::Unsupported(_) | TokenizerError::Damaged(_))
            ),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn large_parts_are_refused_before_they_are_read() {
    let mut kind = Kind::new("tokenizers with large parts");
    for (part, item, [open, close]) in [
        ("normalizer", "{\"type\":\"NFC\"}", ['[', ']']),
        ("decoder", "[]", ['[', ']']),
        ("post_processor", "1", ['[', ']']),
        ("padding", "[[]]", ['[', ']']),
        ("added_tokens", "{}", ['[', ']']),
        ("model", "\"a\":1", ['{', '}']),
    ] {
        let items = format!("{item},").repeat(60_000_000 / (item.len() + 1));
        let file = format!("{{\"{part}\": {open}{items}{item}{close}, \"model\": {{}}}}");
        drop(items);
        let result = measured_bytes(&mut kind, part, file.as_bytes());
        assert!(
            matches!(result, Err(TokenizerError::Unsupported(_))),
            "{part}: {result:?}"
        );
    }
}

#[test]
fn many_tokens_merges_and_added_tokens_stay_in_bounds() {
    let mut kind = Kind::new("large tokenizers");
    let mut file = small();
    // As many as the largest tokenizers in use.
    let words: serde_json::Map<String, Value> = (0..262_144)
        .map(|id| (format!("w{id}"), json!(id)))
        .collect();
    file["model"]["vocab"] = words.into();
    file["model"]["merges"] = json!([]);
    measured(&mut kind, "262,144 tokens", &file).unwrap();

    // Every pair of two letters out of many is a merge.
    let letters: Vec<char> = ('\u{4e00}'..).take(360).collect();
    let singles = letters.iter().map(char::to_string);
    let pairs = letters
        .iter()
        .flat_map(|one| letters.iter().map(move |other| format!("{one}{other}")));
    let vocab = singles.chain(pairs).enumerate();
    let vocab: serde_json::Map<String, Value> = vocab.map(|(id, word)| (word, json!(id))).collect();
    let merges: Vec<Value> = vocab
        .keys()
        .filter(|word| word.chars().count() == 2)
        .map(|word| Value::from(word.chars().map(String::from).collect::<Vec<_>>()))
        .collect();
    file["model"]["vocab"] = vocab.into();
    file["model"]["merges"] = merges.into();
    measured(&mut kind, "129,600 merges", &file).unwrap();

    // As many added tokens as are read.
    let mut file = small();
    let added: Vec<Value> = (0..65_000)
        .map(|id| json!({"id": 6 + id, "content": format!("<added_{id:05}>"), "special": true}))
        .collect();
    file["added_tokens"] = added.into();
    measured(&mut kind, "65,000 added tokens", &file).unwrap();

    // Every added token begins as the text does, and as many others.
    let mut file = small();
    let added: Vec<Value> = (0..1_400)
        .map(|id| json!({"id": 6 + id, "content": "<".repeat(2 + id % 500) + &"a".repeat(id / 500), "special": true}))
        .collect();
    file["added_tokens"] = added.into();
    measured(&mut kind, "added tokens that begin alike", &file).unwrap();
}

#[test]
fn real_components_are_still_read() {
    let mut kind = Kind::new("components of real tokenizers");
    let llama = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u{2581}"}, replace(" ", "\u{2581}"),
    ]});
    let ids = measured(
        &mut kind,
        "Llama 2's normalizers",
        &with("normalizer", llama),
    )
    .unwrap();
    assert_eq!(ids.len(), 10_001);
    let pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let split = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
    ]});
    measured(
        &mut kind,
        "Llama 3's pattern",
        &with("pre_tokenizer", split),
    )
    .unwrap();
}
