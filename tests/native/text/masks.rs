//! Compares which tokens are learned with TRL, on the stock chat templates (`tests/reference/masks.py`).

use std::collections::BTreeSet;

use engine::{
    data::{EncodeError, Encoder, turn::TurnError},
    template::ChatTemplate,
    tokenizer::Tokenizer,
};
use formats::row::{Example, Row};
use protocol::{DataSpec, Message, RowShape};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::golden::{encoder, fixture, golden};

#[derive(Deserialize)]
pub struct Masks {
    pub families: Vec<Family>,
    pairs: Vec<PlainPair>,
}

#[derive(Deserialize)]
pub struct Family {
    pub name: String,
    pub template: String,
    special: serde_json::Map<String, Value>,
    pre_tokenizer: Value,
    bos: String,
    eos: String,
    conversations: Vec<Conversation>,
    pairs: Vec<ChatPair>,
}

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Value>,
    tools: Option<Vec<Value>>,
    /// Without it, the template refuses the conversation in transformers, too.
    #[serde(flatten)]
    rendered: Option<Rendered>,
}

#[derive(Deserialize)]
struct Rendered {
    text: String,
    ids: Vec<u32>,
    /// `0` and `1`, one for each token
    mask: String,
}

#[derive(Deserialize)]
struct ChatPair {
    prompt: Vec<Value>,
    completion: Vec<Value>,
    ids: Vec<u32>,
    mask: String,
    /// Whether the prompt's tokens are the first of the whole's. If they are not, because the template writes an
    /// answered prompt differently, TRL warns and learns from the first difference on.
    splits: bool,
}

#[derive(Deserialize)]
struct PlainPair {
    prompt: String,
    completion: String,
    ids: Vec<u32>,
    mask: String,
}

impl Family {
    /// The tiny tokenizer with the family's special tokens and its way of splitting.
    pub fn tokenizer(&self) -> Tokenizer {
        let mut file: Value = serde_json::from_slice(&fixture("tiny_tokenizer.json")).unwrap();
        file["pre_tokenizer"] = self.pre_tokenizer.clone();
        let tokens = file["added_tokens"].as_array_mut().unwrap();
        for (content, id) in &self.special {
            if tokens.iter().all(|token| token["content"] != *content) {
                tokens.push(
                    json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true}),
                );
            }
        }
        let config = json!({"bos_token": self.bos, "eos_token": self.eos}).to_string();
        Tokenizer::from_json(file.to_string().as_bytes(), Some(config.as_bytes())).unwrap()
    }

    pub fn template(&self, tokenizer: &Tokenizer) -> ChatTemplate {
        ChatTemplate::new(&self.template, tokenizer).unwrap()
    }
}

fn message(written: &Value) -> Message {
    let text = |key: &str| Some(written.get(key)?.as_str()?.to_owned());
    let calls = written.get("tool_calls").and_then(Value::as_array);
    Message {
        role: text("role").unwrap(),
        content: text("content").unwrap(),
        reasoning_content: text("reasoning_content"),
        tool_calls: calls.into_iter().flatten().map(Value::to_string).collect(),
        tool_call_id: text("tool_call_id"),
        name: text("name"),
        is_context: false,
    }
}

fn row(messages: Vec<Message>, tools: Vec<String>, first_trained: usize, shape: RowShape) -> Row {
    Row {
        row: 0,
        example: Example::Conversation {
            messages,
            tools,
            first_trained,
            shape,
        },
    }
}

fn whole() -> DataSpec {
    DataSpec {
        max_seq_length: usize::MAX,
        ..DataSpec::default()
    }
}

fn encode(encoder: Encoder<'_>, row: &Row) -> Result<(Vec<u32>, String), EncodeError> {
    let (sequence, _) = encoder.encode(row, &whole())?;
    let bits = sequence
        .loss_mask
        .iter()
        .map(|&learned| b"01"[usize::from(learned)]);
    let mask = bits.map(char::from).collect();
    Ok((sequence.ids, mask))
}

/// The first token is predicted from nothing: TRL marks it if a text begins with what is learned, and its loss ignores
/// it.
fn without_first(mask: &str) -> String {
    mask.replacen('1', "0", usize::from(mask.starts_with('1')))
}

#[test]
fn masks_of_conversations_are_those_of_trl() {
    let masks: Masks = golden("masks.json.gz");
    let (mut num_same, mut num_refused, mut num_calls_lost) = (0, 0, 0);
    let mut without_calls = BTreeSet::new();
    let mut wrong = Vec::new();
    for family in &masks.families {
        let tokenizer = family.tokenizer();
        let template = family.template(&tokenizer);
        let encoder = encoder(&tokenizer, &template);
        for (index, conversation) in family.conversations.iter().enumerate() {
            let messages: Vec<Message> = conversation.messages.iter().map(message).collect();
            let tools: Vec<String> = conversation
                .tools
                .iter()
                .flatten()
                .map(Value::to_string)
                .collect();
            let rendered = template.render(&messages, &tools, false);
            let place = format!("{} {index}", family.name);
            let row = row(messages, tools, 0, RowShape::Messages);
            match &conversation.rendered {
                None => {
                    assert!(encode(encoder, &row).is_err(), "{place}");
                    num_refused += 1;
                }
                Some(Rendered { text, ids, mask }) => {
                    let result = encode(encoder, &row);
                    // TRL trains on an empty turn where the template does not write the calls; here it is refused.
                    if matches!(
                        result,
                        Err(EncodeError::Turn(TurnError::CallsNotWritten { .. }))
                    ) {
                        without_calls.insert(family.name.as_str());
                        num_calls_lost += 1;
                    } else if rendered.as_ref() != Ok(text) {
                        wrong.push(format!("{place}: {rendered:?}\n not {text:?}"));
                    } else if result != Ok((ids.clone(), without_first(mask))) {
                        wrong.push(format!("{place}: {text:?}\n {mask}\n {result:?}"));
                    } else {
                        num_same += 1;
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let templates_without_calls = [
        "gemma",
        "gemma3",
        "llama3",
        "mistral_v0_2",
        "phi3",
        "phi3_5",
        "phi4_mini",
        "smollm2",
    ];
    assert!(
        without_calls.iter().eq(&templates_without_calls),
        "{without_calls:?}"
    );
    assert_eq!((num_same, num_refused, num_calls_lost), (724, 48, 28));
}

#[test]
fn masks_of_prompts_and_completions_are_those_of_trl() {
    let masks: Masks = golden("masks.json.gz");
    let (mut num_same, mut num_unsplit) = (0, 0);
    let mut wrong = Vec::new();
    for family in &masks.families {
        let tokenizer = family.tokenizer();
        let template = family.template(&tokenizer);
        let encoder = encoder(&tokenizer, &template);
        for (index, pair) in family.pairs.iter().enumerate() {
            let messages = pair
                .prompt
                .iter()
                .chain(&pair.completion)
                .map(message)
                .collect();
            let row = row(
                messages,
                Vec::new(),
                pair.prompt.len(),
                RowShape::PromptCompletion,
            );
            let result = encode(encoder, &row);
            let is_same = match pair.splits {
                true => result == Ok((pair.ids.clone(), pair.mask.clone())),
                false => {
                    num_unsplit += 1;
                    result.as_ref().is_ok_and(|(ids, mask)| {
                        let completion = mask.trim_start_matches('0');
                        *ids == pair.ids
                            && pair.mask.ends_with(completion)
                            && !completion.contains('0')
                    })
                }
            };
            if is_same {
                num_same += 1;
            } else {
                wrong.push(format!(
                    "{} {index}: {:?}\n {}\n {result:?}",
                    family.name, pair.prompt, pair.mask
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!((num_same, num_unsplit), (638, 7));
}

#[test]
fn masks_of_plain_prompts_and_completions_are_those_of_trl() {
    let masks: Masks = golden("masks.json.gz");
    let tokenizer = masks.families[0].tokenizer();
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: None,
    };
    let mut wrong = Vec::new();
    for PlainPair {
        prompt,
        completion,
        ids,
        mask,
    } in &masks.pairs
    {
        let row = Row {
            row: 0,
            example: Example::Pair {
                prompt: prompt.clone(),
                completion: completion.clone(),
            },
        };
        let result = encode(encoder, &row);
        if completion.trim().is_empty() {
            // TRL trains on white space; here it is refused.
            assert_eq!(result, Err(EncodeError::EmptyTarget));
        } else if result != Ok((ids.clone(), without_first(mask))) {
            wrong.push(format!(
                "{prompt:?} {completion:?}: {ids:?}\n {mask}\n {result:?}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
