//! Tokenizers and templates from untrusted files: an error with its reason, or something that works, but never a panic.

use engine::{
    template::{ChatTemplate, MAX_OUTPUT_BYTES, TemplateError},
    tokenizer::{Tokenizer, TokenizerError},
    weights::checkpoint::GgufVocabulary,
};
use proptest::prelude::*;
use protocol::Message;
use serde_json::{Value, json};

use crate::golden::{fixture, tiny_tokenizer};

const TEXTS: [&str; 6] = [
    "",
    "Hello, World! 1234  \n\n9 <|im_start|>user\nhi<|im_end|>",
    "Привет 你好 👩‍👩‍👧‍👦 e\u{301} \u{0}\u{1}\u{7f}\u{fffd}\u{10ffff}",
    "            indented\t\tcode();\r\n",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\u{2581}▁ ▁▁ <0x41> <unk>",
];

/// Without files of failures: a failing case is printed whole.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

fn tiny() -> Value {
    serde_json::from_slice(&fixture("tiny_tokenizer.json")).unwrap()
}

/// Uses all of a tokenizer that was read.
fn exercise(tokenizer: &Tokenizer) {
    for text in TEXTS {
        let Ok(spans) = tokenizer.encode_with_ranges(text) else {
            continue;
        };
        let ids: Vec<u32> = spans.iter().map(|span| span.id).collect();
        assert_eq!(tokenizer.encode(text).unwrap(), ids);
        assert!(spans.iter().all(|span| span.range.end <= text.len()));
        let _ = tokenizer.decode(&ids, true);
        let mut stream = tokenizer.decode_stream(false);
        for &id in &ids {
            let _ = stream.push(id);
            tokenizer.token_text(id);
            tokenizer.is_special(id);
        }
        let _ = stream.finish();
        let _ = tokenizer.encode_with_special_tokens(text);
    }
}

fn read(value: &Value) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_json(&serde_json::to_vec(value).unwrap(), None)
}

#[test]
fn what_makes_tokenizers_panic_is_refused() {
    let cases: [(&str, Value); 13] = [
        ("/model/merges", json!([["a", "nowhere"]])),
        ("/model/merges", json!(["ab"])),
        ("/model/continuing_subword_prefix", json!("##")),
        ("/model/unk_token", json!("<unk>")),
        ("/model/vocab", json!({})),
        ("/model/vocab", json!({"a": 4294967295u32})),
        ("/model/vocab", json!({"a": 1, "b": 1})),
        (
            "/pre_tokenizer",
            json!({"type": "FixedLength", "length": 0}),
        ),
        (
            "/decoder",
            json!({"type": "Strip", "content": " ", "start": 0, "stop": 3}),
        ),
        ("/decoder", json!("Fuse")),
        (
            "/normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        ),
        (
            "/post_processor",
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}],
                "pair": [], "special_tokens": {}}),
        ),
        ("/model/type", json!("Unigram")),
    ];
    for (place, value) in cases {
        let mut file = tiny();
        *file.pointer_mut(place).unwrap() = value.clone();
        let error = read(&file).unwrap_err();
        assert!(!error.to_string().is_empty(), "{place} {value}");
    }
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!(Tokenizer::from_json(&deep, None).is_err());
    assert!(Tokenizer::from_json(b"{\"model\": {}}", None).is_err());
}

#[test]
fn special_tokens_around_a_text_come_from_the_file() {
    let mut file = tiny();
    file["post_processor"] = json!({"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}}}]});
    file["truncation"] =
        json!({"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0});
    file["padding"] = json!({"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "x"});
    let tokenizer = read(&file).unwrap();
    let plain = tokenizer.encode("hello there").unwrap();
    assert_eq!(plain, tiny_tokenizer().encode("hello there").unwrap());
    assert_eq!(
        tokenizer.encode_with_special_tokens("hello there").unwrap(),
        [&[1], plain.as_slice()].concat()
    );
}

#[test]
fn damaged_tokenizer_files_never_panic() {
    let bytes = fixture("tiny_tokenizer.json");
    let edit = (0..bytes.len(), any::<u8>());
    let edits = proptest::collection::vec(edit, 1..6);
    proptest!(cases(600), |(edits in edits)| {
        let mut bytes = bytes.clone();
        for (place, byte) in edits {
            // Mostly bytes that keep the file near JSON.
            bytes[place] = if byte < 200 { b"0123456789[]{},:\"\\abtn "[usize::from(byte) % 23] } else { byte };
        }
        if let Ok(tokenizer) = Tokenizer::from_json(&bytes, None) {
            exercise(&tokenizer);
        }
    });
}

/// Valid and invalid components in every combination.
#[test]
fn random_components_never_panic() {
    let pattern = || {
        prop_oneof![
            "[a-z ▁]{0,3}".prop_map(|text| json!({"String": text})),
            prop_oneof![
                Just("\\s+"),
                Just(""),
                Just("(a|b)*"),
                Just("(?=a)"),
                Just("["),
                Just("\\b"),
                Just("(a+)+$"),
                Just("^")
            ]
            .prop_map(|regex| json!({"Regex": regex})),
        ]
    };
    let normalizer = prop_oneof![
        Just(Value::Null),
        prop_oneof![
            Just("NFC"),
            Just("NFD"),
            Just("NFKC"),
            Just("NFKD"),
            Just("Lowercase"),
            Just("StripAccents"),
            Just("Nope")
        ]
        .prop_map(|kind| json!({"type": kind})),
        (any::<bool>(), any::<bool>()).prop_map(
            |(left, right)| json!({"type": "Strip", "strip_left": left, "strip_right": right})
        ),
        "[▁a]{0,2}".prop_map(|text| json!({"type": "Prepend", "prepend": text})),
        (pattern(), "[▁b]{0,2}").prop_map(
            |(pattern, content)| json!({"type": "Replace", "pattern": pattern, "content": content})
        ),
    ];
    let behavior = prop_oneof![
        Just("Removed"),
        Just("Isolated"),
        Just("MergedWithPrevious"),
        Just("MergedWithNext"),
        Just("Contiguous")
    ];
    let pre_tokenizer = prop_oneof![
        Just(Value::Null),
        any::<(bool, bool)>().prop_map(|(prefix, regex)| {
            json!({"type": "ByteLevel", "add_prefix_space": prefix, "use_regex": regex, "trim_offsets": true})
        }),
        any::<bool>().prop_map(|each| json!({"type": "Digits", "individual_digits": each})),
        (pattern(), behavior, any::<bool>()).prop_map(|(pattern, behavior, invert)| {
            json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert})
        }),
        prop_oneof![Just("first"), Just("never"), Just("always")].prop_map(|scheme| {
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true})
        }),
        prop_oneof![Just("Whitespace"), Just("WhitespaceSplit"), Just("Punctuation")]
            .prop_map(|kind| json!({"type": kind})),
    ];
    let decoder = prop_oneof![
        Just(Value::Null),
        prop_oneof![Just("ByteLevel"), Just("ByteFallback"), Just("Fuse")]
            .prop_map(|kind| json!({"type": kind})),
        (0..4usize, 0..2usize).prop_map(
            |(start, stop)| json!({"type": "Strip", "content": " ", "start": start, "stop": stop})
        ),
        (pattern(), "[ b]{0,2}").prop_map(
            |(pattern, content)| json!({"type": "Replace", "pattern": pattern, "content": content})
        ),
        Just(json!({"type": "Metaspace", "replacement": "▁"})),
    ];
    let several = |key: &'static str, one: BoxedStrategy<Value>| {
        proptest::collection::vec(one, 0..3).prop_map(move |list| {
            let list: Vec<_> = list.into_iter().filter(|value| !value.is_null()).collect();
            json!({"type": "Sequence", key: list})
        })
    };
    let base = tiny();
    proptest!(cases(1500), |(
        normalizer in several("normalizers", normalizer.boxed()),
        pre_tokenizer in several("pretokenizers", pre_tokenizer.boxed()),
        decoder in several("decoders", decoder.boxed()),
        fallback in any::<(bool, bool, bool)>(),
        marks in any::<(bool, bool, bool, bool)>(),
    )| {
        let mut file = base.clone();
        file["normalizer"] = normalizer;
        file["pre_tokenizer"] = pre_tokenizer;
        file["decoder"] = decoder;
        file["model"]["byte_fallback"] = json!(fallback.0);
        file["model"]["ignore_merges"] = json!(fallback.1);
        if fallback.2 {
            file["model"]["unk_token"] = json!("!");
        }
        let token = &mut file["added_tokens"][1];
        for (key, mark) in [("single_word", marks.0), ("lstrip", marks.1), ("rstrip", marks.2), ("normalized", marks.3)] {
            token[key] = json!(mark);
        }
        if let Ok(tokenizer) = read(&file) {
            exercise(&tokenizer);
        }
    });
}

#[test]
fn random_gguf_vocabularies_never_panic() {
    let token =
        prop_oneof![3 => "[a-dĠĊ]{1,3}", 1 => "\\PC{0,3}", 1 => Just("<|im_end|>".to_owned())];
    let merge = prop_oneof![4 => "[a-d] [a-d]", 1 => "\\PC{0,5}"];
    let pre = prop_oneof![
        Just("smollm"),
        Just("llama-bpe"),
        Just("tekken"),
        Just("qwen2"),
        Just(""),
        Just("no")
    ];
    proptest!(cases(1500), |(
        tokens in proptest::collection::vec(token, 0..20),
        merges in proptest::collection::vec(merge, 0..4),
        kinds in proptest::collection::vec(1..7i32, 0..20),
        pre in pre,
        ids in any::<[Option<u8>; 5]>(),
        add_bos_token in any::<bool>(),
        is_typed in any::<bool>(),
    )| {
        let id = |index: usize| ids[index].map(|id| u32::from(id) % 24);
        let num_tokens = tokens.len();
        let vocabulary = GgufVocabulary {
            model: "gpt2".into(),
            pre: pre.into(),
            tokens,
            token_types: if is_typed { kinds.iter().copied().cycle().take(num_tokens).collect() } else { kinds.clone() },
            merges,
            bos_token_id: id(0),
            eos_token_id: id(1),
            eot_token_id: id(2),
            unk_token_id: id(3),
            pad_token_id: id(4),
            add_bos_token,
            add_space_prefix: false,
        };
        if let Ok(tokenizer) = Tokenizer::from_gguf(&vocabulary) {
            exercise(&tokenizer);
            let ids = tokenizer.encode_with_special_tokens(TEXTS[1]).unwrap();
            prop_assert!(ids.iter().all(|&id| (id as usize) < num_tokens));
        }
    });
}

fn render(source: &str) -> Result<String, TemplateError> {
    let messages = [Message::new("user", "hi")];
    ChatTemplate::with_tokens(source, Vec::new())?.render(&messages, &[], true)
}

#[test]
fn templates_are_bounded() {
    let endless =
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    assert_eq!(render(endless), Err(TemplateError::OutOfFuel));
    let long = "{% set x = 'abcdefgh' * 10000 %}{% for i in range(100) %}{{ x }}{% endfor %}";
    assert!(matches!(
        render(long),
        Err(TemplateError::OutputTooLong | TemplateError::OutOfFuel)
    ));
    let just_fits = format!("{{{{ 'x' * {MAX_OUTPUT_BYTES} }}}}");
    assert_eq!(
        render(&just_fits).map(|text| text.len()),
        Ok(MAX_OUTPUT_BYTES)
    );
    let just_not = format!("{{{{ 'x' * {MAX_OUTPUT_BYTES} }}}}y");
    assert_eq!(render(&just_not), Err(TemplateError::OutputTooLong));
    let huge = render("{{ ('x' * 1000000000000) | length }}");
    assert!(huge.is_err(), "{huge:?}");
    let recursive = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    assert!(render(recursive).is_err());
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(render(&nested).is_err());
}

#[test]
fn templates_say_what_is_wrong() {
    let refused = render("{{ raise_exception('roles must alternate') }}");
    assert_eq!(
        refused,
        Err(TemplateError::Refused("roles must alternate".into()))
    );
    let broken = render("line\n{% if %}");
    assert!(
        matches!(broken, Err(TemplateError::Syntax { line: Some(2), .. })),
        "{broken:?}"
    );
    let failing = render("{{ messages[0].content.nope() }}");
    assert!(
        matches!(failing, Err(TemplateError::Render { line: Some(1), .. })),
        "{failing:?}"
    );
    let dated = render("{{ strftime_now('%d %b %Y') }}");
    assert_eq!(dated.as_deref(), Ok("26 Jul 2024"));
    let marked =
        render("{%- generation -%} a {%- endgeneration %} b{% generation %}c{% endgeneration %}");
    assert_eq!(marked.as_deref(), Ok("a bc"));
}

#[test]
fn random_templates_never_panic() {
    let piece = prop_oneof![
        Just("{{"),
        Just("}}"),
        Just("{%"),
        Just("%}"),
        Just("for m in messages"),
        Just("endfor"),
        Just("if m.role"),
        Just("endif"),
        Just("messages"),
        Just("[0]"),
        Just(".content"),
        Just("|tojson"),
        Just("|trim"),
        Just("set x ="),
        Just("'a'"),
        Just("\""),
        Just("("),
        Just(")"),
        Just("~"),
        Just("generation"),
        Just("-"),
        Just("\n"),
        Just("é"),
        Just("range(9999)"),
        Just(".split('')"),
        Just("*"),
        Just("99999999"),
        Just("{#"),
        Just("raise_exception"),
    ];
    proptest!(cases(4000), |(pieces in proptest::collection::vec(piece, 0..14))| {
        let _ = render(&pieces.join(" "));
        let _ = render(&format!("{{{{ {} }}}}", pieces.join(" ")));
    });
}
