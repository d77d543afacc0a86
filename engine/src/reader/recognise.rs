//! What a row is, by the names of its fields.
//!
//! Names are compared without case and without what joins words, so that `Canonical Solution`, `canonical_solution` and
//! `canonicalSolution` are one. The first rule that fits decides:
//!
//! 1. `chosen` and `rejected`: a preference;
//! 2. a list of messages, or of texts that take turns;
//! 3. a prompt and a completion under one of their many names, with Alpaca's `input` and a system prompt;
//! 4. a text and its summary;
//! 5. a text and a label;
//! 6. a text under one of its names;
//! 7. a list of messages under any name;
//! 8. the row's only text;
//! 9. an object inside the row (`{"row": {..}}`) that one of the rules up to 7 fits; it is a text (6) only where the row
//!    has no text beside it, lest a remark be learnt.

use serde_json::Value;

use super::{headers::english, path::Fields};
use crate::protocol::Mapping;

const MESSAGES: &[&str] = &[
    "messages",
    "conversations",
    "conversation",
    "dialogue",
    "dialog",
    "chat",
    "turns",
];
const CHOSEN: &[&str] = &[
    "chosen",
    "chosenresponse",
    "chosenmessages",
    "preferred",
    "accepted",
];
const REJECTED: &[&str] = &[
    "rejected",
    "rejectedresponse",
    "rejectedmessages",
    "dispreferred",
    "nonpreferred",
];
const SYSTEM: &[&str] = &["system", "systemprompt", "systemmessage"];
/// Names of what is asked; earlier ones win, so that `input` and `context` beside an instruction are its input.
const PROMPT: &[&str] = &[
    "prompt",
    "instruction",
    "question",
    "query",
    "user",
    "human",
    "request",
    "input",
    "inputs",
    "source",
    "context",
];
const INPUT: &[&str] = &["input", "context", "passage", "options"];
const COMPLETION: &[&str] = &[
    "completion",
    "output",
    "response",
    "answer",
    "reply",
    "assistant",
    "canonicalsolution",
    "solution",
    "target",
    "targets",
    "outputs",
    "answers",
    "ideal",
];
/// What a summary is of, and its names.
const SUMMARISED: &[&str] = &[
    "document", "article", "dialogue", "text", "content", "body", "source",
];
const SUMMARY: &[&str] = &["summary", "highlights", "abstract", "tldr"];
const LABELLED: &[&str] = &[
    "text",
    "sentence",
    "review",
    "comment",
    "tweet",
    "message",
    "content",
    "body",
    "utterance",
    "input",
];
const LABEL: &[&str] = &[
    "labeltext",
    "labelname",
    "label",
    "class",
    "category",
    "sentiment",
    "intent",
    "emotion",
    "target",
    "topic",
];
const TEXT: &[&str] = &[
    "text", "content", "document", "body", "article", "story", "passage", "code", "sentence",
    "abstract", "poem", "lyrics", "quote",
];

/// What the fields' names say; `None` where they say nothing.
pub fn recognise(fields: &Fields) -> Option<Mapping> {
    let own = by_names(fields).or_else(|| lone_text(fields));
    own.or_else(|| {
        let has_text = fields.iter().any(|(_, value)| is_text(value));
        fields.iter().find_map(|(name, value)| {
            let inner: Vec<(String, Value)> = value
                .as_object()?
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let found = by_names(&inner)?;
            let is_doubtful = has_text && matches!(found, Mapping::Text { .. });
            (!is_doubtful).then(|| inside(name, found))
        })
    })
}

fn by_names(fields: &Fields) -> Option<Mapping> {
    let named = |names: &[&str]| find(fields, names, |_| true);
    let text = |names: &[&str]| find(fields, names, is_text);
    if let (Some(chosen), Some(rejected)) = (named(CHOSEN), named(REJECTED)) {
        return Some(Mapping::Preference {
            prompt: named(PROMPT).or_else(|| find(fields, MESSAGES, is_conversation)),
            chosen,
            rejected,
        });
    }
    if let Some(messages) = find(fields, MESSAGES, is_conversation) {
        return Some(Mapping::Messages { messages });
    }
    let completion = completion(fields);
    if let Some((prompt, completion)) = named(PROMPT).zip(completion) {
        let input = find(fields, INPUT, |value| is_text(value) || value.is_null());
        return Some(Mapping::PromptCompletion {
            system: text(SYSTEM),
            input: input.filter(|input| *input != prompt && *input != completion),
            prompt,
            completion,
        });
    }
    if let Some((prompt, completion)) = text(SUMMARISED).zip(text(SUMMARY)) {
        return Some(Mapping::PromptCompletion {
            system: text(SYSTEM),
            input: None,
            prompt,
            completion,
        });
    }
    if let (Some(text), Some(label)) = (text(LABELLED), find(fields, LABEL, is_label))
        && text != label
    {
        return Some(Mapping::Classification { text, label });
    }
    if let Some(text) = text(TEXT) {
        return Some(Mapping::Text { text });
    }
    // A conversation by its content, whatever it is called.
    let (name, _) = fields
        .iter()
        .find(|(_, value)| is_list_of_messages(value))?;
    Some(Mapping::Messages {
        messages: name.clone(),
    })
}

/// The row's only text.
fn lone_text(fields: &Fields) -> Option<Mapping> {
    match fields {
        // Half of a pair is no text.
        [(name, Value::String(_))]
            if ![PROMPT, COMPLETION, CHOSEN, REJECTED]
                .iter()
                .any(|names| names.contains(&plain(name).as_str())) =>
        {
            Some(Mapping::Text { text: name.clone() })
        }
        _ => None,
    }
}

/// The field under the first of `names` that there is.
fn find(fields: &Fields, names: &[&str], fits: impl Fn(&Value) -> bool) -> Option<String> {
    names.iter().find_map(|wanted| {
        let field = fields
            .iter()
            .find(|(name, value)| is_called(name, wanted) && fits(value));
        field.map(|(name, _)| name.clone())
    })
}

/// The completion's path; of a list of answers, the first one.
fn completion(fields: &Fields) -> Option<String> {
    let name = find(fields, COMPLETION, |value| !value.is_null())?;
    let value = &fields.iter().find(|(field, _)| *field == name)?.1;
    Some(match value {
        // As SQuAD writes them.
        Value::Object(answers) if answers.get("text").is_some_and(Value::is_array) => {
            format!("{name}.text[0]")
        }
        Value::Array(answers) if answers.first().is_some_and(is_text) => format!("{name}[0]"),
        _ => name,
    })
}

/// Whether a name is the wanted one, or means the same in another language.
fn is_called(name: &str, wanted: &str) -> bool {
    let plain = plain(name);
    plain == wanted || english(&plain) == Some(wanted)
}

/// Small letters and digits of a name.
pub(super) fn plain(name: &str) -> String {
    name.chars()
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn is_text(value: &Value) -> bool {
    value.is_string()
}

fn is_label(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

/// A list, also one that a table's cell holds as JSON.
fn is_conversation(value: &Value) -> bool {
    match value {
        Value::Array(_) => true,
        Value::String(text) => text.trim_start().starts_with('['),
        _ => false,
    }
}

/// A list of objects with a role, one of them the assistant's.
fn is_list_of_messages(value: &Value) -> bool {
    let roles = value.as_array().map(|list| {
        list.iter()
            .map(|item| item.get("role").or_else(|| item.get("from")))
            .collect::<Vec<_>>()
    });
    roles.is_some_and(|roles| {
        let is_answer = |role: &&Value| {
            let role = role.as_str();
            role.is_some_and(|role| ["assistant", "gpt", "model"].contains(&role))
        };
        roles.iter().all(Option::is_some) && roles.iter().flatten().any(is_answer)
    })
}

/// The mapping of fields inside the object `name`.
fn inside(name: &str, mapping: Mapping) -> Mapping {
    let at = |path: String| format!("{name}.{path}");
    match mapping {
        Mapping::Text { text } => Mapping::Text { text: at(text) },
        Mapping::PromptCompletion {
            system,
            prompt,
            input,
            completion,
        } => Mapping::PromptCompletion {
            system: system.map(at),
            prompt: at(prompt),
            input: input.map(at),
            completion: at(completion),
        },
        Mapping::Messages { messages } => Mapping::Messages {
            messages: at(messages),
        },
        Mapping::Classification { text, label } => Mapping::Classification {
            text: at(text),
            label: at(label),
        },
        Mapping::Preference {
            prompt,
            chosen,
            rejected,
        } => Mapping::Preference {
            prompt: prompt.map(at),
            chosen: at(chosen),
            rejected: at(rejected),
        },
        other @ (Mapping::Automatic | Mapping::Template { .. } | Mapping::MessageRows { .. }) => {
            other
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(record: Value) -> Option<Mapping> {
        let fields: Vec<_> = record.as_object().unwrap().clone().into_iter().collect();
        recognise(&fields)
    }

    fn pair(prompt: &str, input: Option<&str>, completion: &str) -> Option<Mapping> {
        Some(Mapping::PromptCompletion {
            system: None,
            prompt: prompt.to_owned(),
            input: input.map(str::to_owned),
            completion: completion.to_owned(),
        })
    }

    #[test]
    fn the_shapes_that_people_have_are_known_by_their_names() {
        let cases = [
            (
                json!({"text": "t"}),
                Some(Mapping::Text {
                    text: "text".into(),
                }),
            ),
            (
                json!({"id": 1, "text": "t", "meta": {}}),
                Some(Mapping::Text {
                    text: "text".into(),
                }),
            ),
            (
                json!({"anything": "t"}),
                Some(Mapping::Text {
                    text: "anything".into(),
                }),
            ),
            (
                json!({"prompt": "p", "completion": "c"}),
                pair("prompt", None, "completion"),
            ),
            (
                json!({"input": "p", "output": "c"}),
                pair("input", None, "output"),
            ),
            (
                json!({"Question": "p", "Answer": "c"}),
                pair("Question", None, "Answer"),
            ),
            (
                json!({"instruction": "p", "response": "c"}),
                pair("instruction", None, "response"),
            ),
            (
                json!({"instruction": "p", "input": "", "output": "c"}),
                pair("instruction", Some("input"), "output"),
            ),
            (
                json!({"instruction": "p", "context": "x", "response": "c", "category": "qa"}),
                pair("instruction", Some("context"), "response"),
            ),
            (
                json!({"Context": "p", "Response": "c"}),
                pair("Context", None, "Response"),
            ),
            (
                json!({"task_id": "1", "prompt": "p", "canonical_solution": "c", "test": "t"}),
                pair("prompt", None, "canonical_solution"),
            ),
            (
                json!({"id": "1", "context": "x", "question": "q", "answers": {"text": ["a"], "answer_start": [3]}}),
                pair("question", Some("context"), "answers.text[0]"),
            ),
            (
                json!({"question": "q", "answers": ["a", "b"]}),
                pair("question", None, "answers[0]"),
            ),
            (
                json!({"conversations": [{"from": "human", "value": "q"}]}),
                Some(Mapping::Messages {
                    messages: "conversations".into(),
                }),
            ),
            (
                json!({"id": 3, "messages": "[{\"role\": \"user\"}]"}),
                Some(Mapping::Messages {
                    messages: "messages".into(),
                }),
            ),
            (
                json!({"text": "t", "label": 1}),
                Some(Mapping::Classification {
                    text: "text".into(),
                    label: "label".into(),
                }),
            ),
            (
                json!({"text": "t", "label": 1, "label_text": "good"}),
                Some(Mapping::Classification {
                    text: "text".into(),
                    label: "label_text".into(),
                }),
            ),
            (
                json!({"prompt": "p", "chosen": "c", "rejected": "r", "score": 1}),
                Some(Mapping::Preference {
                    prompt: Some("prompt".into()),
                    chosen: "chosen".into(),
                    rejected: "rejected".into(),
                }),
            ),
            (
                json!({"row_idx": 0, "row": {"question": "q", "answer": "a"}}),
                pair("row.question", None, "row.answer"),
            ),
            (
                json!({"id": 1, "document": "d", "summary": "s"}),
                pair("document", None, "summary"),
            ),
            (
                json!({"question": "q", "options": "A. x\nB. y", "answer": "A. x"}),
                pair("question", Some("options"), "answer"),
            ),
            (
                json!({"input": [{"role": "user", "content": "q"}], "ideal": ["a", "b"]}),
                pair("input", None, "ideal[0]"),
            ),
            (
                json!({"sample": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
                Some(Mapping::Messages {
                    messages: "sample".into(),
                }),
            ),
            (
                json!({"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "c"},
                    "rejected": {"from": "gpt", "value": "r"}}),
                Some(Mapping::Preference {
                    prompt: Some("conversations".into()),
                    chosen: "chosen".into(),
                    rejected: "rejected".into(),
                }),
            ),
            (
                json!({"id": 3, "row": {"text": "t", "url": "u"}}),
                Some(Mapping::Text {
                    text: "row.text".into(),
                }),
            ),
            // A text inside an object may be anything.
            (json!({"meta": {"ask": "a"}}), None),
            // Other languages' names say as much as English ones.
            (
                json!({"frage": "q", "antwort": "a", "meta": {"text": "t"}}),
                pair("frage", None, "antwort"),
            ),
            (
                json!({"Pregunta": "q", "Respuesta": "a", "Fecha": "1.2.24"}),
                pair("Pregunta", None, "Respuesta"),
            ),
            (
                json!({"id": 1, "Вопрос": "q", "Ответ": "a"}),
                pair("Вопрос", None, "Ответ"),
            ),
            (
                json!({"问题": "q", "答案": "a"}),
                pair("问题", None, "答案"),
            ),
            (
                json!({"Texte": "t", "Catégorie": "c"}),
                Some(Mapping::Classification {
                    text: "Texte".into(),
                    label: "Catégorie".into(),
                }),
            ),
            (
                json!({"first": "q", "second": "a", "meta": {"text": "t"}}),
                None,
            ),
            (json!({"v1": "ham", "v2": "hello"}), None),
            (json!({}), None),
            (json!({"a": 1, "b": null}), None),
        ];
        for (record, expected) in cases {
            assert_eq!(of(record.clone()), expected, "{record}");
        }
    }
}
