//! Checks that ids equal HF's, with the GGUF's vocabulary and with a tokenizer.json.

use std::collections::HashMap;

use engine::{
    tokenizer::{SpecialIds, Tokenizer},
    weights::checkpoint::{GgufVocabulary, TokenizerSource},
};
use formats::text::parse_json;
use serde::Deserialize;

use crate::golden::{fixture, golden, model_tokenizer, tiny_tokenizer};

#[derive(Deserialize)]
struct Tokens {
    json: Vec<String>,
    /// base64 of little-endian u16
    lengths: String,
    ids: String,
    transformers_gguf: HashMap<usize, Vec<u32>>,
}

#[derive(Deserialize)]
struct Tiny {
    texts: Vec<TinyText>,
}

#[derive(Deserialize)]
struct TinyText {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

fn u16_from_base64(text: &str) -> Vec<u32> {
    let sextets: Vec<u32> = text
        .bytes()
        .filter(|&byte| byte != b'=')
        .map(|byte| match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        })
        .map(u32::from)
        .collect();
    let bytes: Vec<u8> = sextets
        .chunks(4)
        .flat_map(|chunk| {
            let word =
                chunk.iter().fold(0, |word, sextet| word << 6 | sextet) << (6 * (4 - chunk.len()));
            (0..chunk.len() - 1).map(move |index| (word >> (16 - 8 * index)) as u8)
        })
        .collect();
    bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]])))
        .collect()
}

#[test]
fn ids_of_ten_thousand_strings_are_those_of_hf() {
    let Some((tokenizer, _)) = model_tokenizer("ids_of_ten_thousand_strings_are_those_of_hf")
    else {
        return;
    };
    let tokens: Tokens = golden("tokens.json.gz");
    assert_eq!(tokens.json.len(), 10_000);
    let ids = u16_from_base64(&tokens.ids);
    let mut after = 0;
    let mut wrong = Vec::new();
    for (index, (json, length)) in tokens
        .json
        .iter()
        .zip(u16_from_base64(&tokens.lengths))
        .enumerate()
    {
        let text = parse_json::<String>(json).unwrap();
        let expected = &ids[after..after + length as usize];
        after += length as usize;
        if tokenizer.encode(&text).unwrap() != expected {
            wrong.push((index, text.clone()));
        }
        if let Some(other) = tokens.transformers_gguf.get(&index) {
            assert_ne!(other, expected, "{text:?}");
        }
    }
    assert_eq!(after, ids.len());
    assert!(
        wrong.is_empty(),
        "{} wrong: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
}

#[test]
fn known_answers() {
    let Some((tokenizer, _)) = model_tokenizer("known_answers") else {
        return;
    };
    assert_eq!(
        tokenizer.encode("The capital of France is").unwrap(),
        [504, 3575, 282, 4649, 314]
    );
    assert_eq!(tokenizer.vocab_size(), 49_152);
    assert_eq!(tokenizer.special_ids().bos, Some(1));
    assert_eq!(tokenizer.special_ids().eos, Some(2));
    assert!(tokenizer.prefix_ids().is_empty());
    assert_eq!(
        tokenizer
            .end_of_turn_ids()
            .iter()
            .copied()
            .collect::<Vec<_>>(),
        [0, 2]
    );
    assert!(tokenizer.is_special(2) && !tokenizer.is_special(504));
    assert_eq!(tokenizer.token_text(3575), " capital");
    assert_eq!(tokenizer.token_text(2), "<|im_end|>");
    assert_eq!(tokenizer.token_text(49_152), "<49152>");
}

#[test]
fn a_model_fills_in_what_its_tokenizer_leaves_open() {
    let file = fixture("tiny_tokenizer.json");
    let bare = Tokenizer::from_json(&file, None).unwrap();
    assert_eq!(bare.special_ids(), SpecialIds::default());
    let filled = bare.with_model_ids(Some(1), &[2, 0, 99_999]);
    assert_eq!(
        (filled.special_ids().bos, filled.special_ids().eos),
        (Some(1), Some(2))
    );
    assert!(filled.end_of_turn_ids().iter().eq(&[0, 2]));
    let named = tiny_tokenizer().with_model_ids(Some(0), &[0]);
    assert_eq!(
        (named.special_ids().bos, named.special_ids().eos),
        (Some(1), Some(2))
    );
}

#[test]
fn a_tokenizer_json_gives_the_ids_of_hf() {
    let tokenizer = tiny_tokenizer();
    let tiny: Tiny = golden("tiny.json.gz");
    for TinyText { text, ids, decoded } in tiny.texts {
        assert_eq!(tokenizer.encode(&text).unwrap(), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), decoded);
        let mut stream = tokenizer.decode_stream(false);
        let mut streamed = String::new();
        for &id in &ids {
            streamed += &stream.push(id).unwrap();
        }
        assert_eq!(streamed + &stream.finish().unwrap(), decoded);
    }
}

#[derive(Deserialize)]
struct Qwen {
    /// The part of Qwen3's own tokenizer.json that the texts need, with its ids.
    tokenizer: serde_json::Value,
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
}

/// From its tokenizer.json, and from what a GGUF file has of it, which says neither the expression nor the normal form.
#[test]
fn a_qwen_tokenizer_gives_the_ids_of_hf() {
    let Qwen {
        tokenizer: file,
        texts,
        ids,
    } = golden("qwen.json.gz");
    let from_json = Tokenizer::from_json(file.to_string().as_bytes(), None).unwrap();
    let vocab = file["model"]["vocab"].as_object().unwrap();
    let last = vocab.values().filter_map(|id| id.as_u64()).max().unwrap();
    let mut tokens: Vec<String> = (0..=last).map(|id| format!("[PAD{id}]")).collect();
    let mut token_types = vec![5; tokens.len()];
    let mut put = |token: &str, id: &serde_json::Value, kind: i32| {
        let id = id.as_u64().unwrap() as usize;
        tokens[id] = token.to_owned();
        token_types[id] = kind;
    };
    vocab.iter().for_each(|(token, id)| put(token, id, 1));
    for added in file["added_tokens"].as_array().unwrap() {
        let kind = if added["special"] == true { 3 } else { 4 };
        put(added["content"].as_str().unwrap(), &added["id"], kind);
    }
    let merges = file["model"]["merges"].as_array().unwrap().iter();
    let merges = merges.map(|pair| {
        let part = |index: usize| pair[index].as_str().unwrap();
        format!("{} {}", part(0), part(1))
    });
    let mut vocabulary = GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: "qwen2".to_owned(),
        tokens,
        token_types,
        merges: merges.collect(),
        bos_token_id: None,
        eos_token_id: None,
        eot_token_id: None,
        unk_token_id: None,
        pad_token_id: None,
        add_bos_token: false,
        add_space_prefix: false,
    };
    let from_gguf = Tokenizer::from_source(&TokenizerSource::Gguf(vocabulary.clone())).unwrap();
    assert!(texts.len() > 400);
    for (text, ids) in texts.iter().zip(&ids) {
        for tokenizer in [&from_json, &from_gguf] {
            assert_eq!(&tokenizer.encode(text).unwrap(), ids, "{text:?}");
        }
    }
    // DeepSeek's models have markers that GPT-2's alphabet cannot write.
    let marker = "<\u{ff5c}User\u{ff5c}>";
    let marker_id = from_gguf.encode("<|im_start|>").unwrap()[0];
    vocabulary.tokens[marker_id as usize] = marker.to_owned();
    let marked = Tokenizer::from_source(&TokenizerSource::Gguf(vocabulary)).unwrap();
    let [a, b] = ["Hello", " there"].map(|text| marked.encode(text).unwrap());
    let ids = marked.encode(&format!("Hello{marker} there")).unwrap();
    assert_eq!(ids, [a, vec![marker_id], b].concat());
}
