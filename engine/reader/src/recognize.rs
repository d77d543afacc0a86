//! What a row is, by the names of its fields.
//!
//! Names are compared without case and without what joins words, so that `Canonical Solution`, `canonical_solution` and
//! `canonicalSolution` are one. Fields without a value say nothing, so that of datasets which were put together each row is
//! read by its own fields. The first rule that fits decides:
//!
//! 1. `chosen` and `rejected`: a preference;
//! 2. two answers and which of them is better: a preference, too;
//! 3. a list of messages, or of texts that take turns, or a conversation as chat services export it;
//! 4. a question, several choices and which of them is right;
//! 5. a prompt and a completion under one of their many names, with Alpaca's `input` and `history`, a system text, and
//!    whether the answer is a good one;
//! 6. a text and its summary;
//! 7. a text and its answer, where nothing else is asked;
//! 8. a text and a label;
//! 9. a text under one of its names;
//! 10. a list of messages under any name;
//! 11. the row's only text;
//! 12. an object inside the row (`{"row": {..}}`) that one of the rules up to 10 fits; it is a text (9) only where the row
//!     has no other text, so that no remark is learned.
//!
//! What was rejected is never taken for anything else.

mod choice;
mod compare;
mod field;
mod inside;
mod names;

use protocol::Mapping;
use serde_json::Value;

pub use self::{compare::compared_names, field::plain};
use self::{field::Row, inside::inside, names::*};
use super::{
    cell::{looks_composite, opened},
    conversation::{has_role, is_of_lists, is_tree, role_of},
    mapping::{scalar, verdict},
    path::Fields,
};

/// What the fields' names say; `None` where they say nothing.
pub fn recognize(fields: &Fields) -> Option<Mapping> {
    // A file can have millions of empty rows.
    if fields.is_empty() {
        return None;
    }
    let row = Row::new(fields);
    let own = by_names(&row, true).or_else(|| by_names(&row, false));
    own.or_else(|| lone_text(fields)).or_else(|| {
        let has_text = row.all().any(|(.., value)| is_text(value));
        let system = row.find(SYSTEM, is_system);
        row.all().find_map(|(name, plain, value)| {
            if is_of_rejected(plain) {
                return None;
            }
            let inner: Vec<(String, Value)> = value
                .as_object()?
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let inner_row = Row::new(&inner);
            let found = by_names(&inner_row, true).or_else(|| by_names(&inner_row, false))?;
            let is_doubtful = has_text && matches!(found, Mapping::Text { .. });
            (!is_doubtful).then(|| inside(name, found, &system))
        })
    })
}

/// `is_strict`: what decides has something in it, so that a row is not read by columns that it leaves empty.
fn by_names(row: &Row, is_strict: bool) -> Option<Mapping> {
    let counts = |names: &[&String]| !is_strict || names.iter().any(|name| row.is_filled(name));
    let preferred = preference(row).filter(|(chosen, rejected, _)| counts(&[chosen, rejected]));
    if let Some((.., mapping)) = preferred {
        return Some(mapping);
    }
    if let Some(mapping) = compare::compared(row, prompt(row)) {
        return Some(mapping);
    }
    let messages = conversation(row);
    if let Some((_, mapping)) = messages.filter(|(messages, _)| counts(&[messages])) {
        return Some(mapping);
    }
    if let Some(mapping) = choice::choice(row) {
        return Some(mapping);
    }
    if let Some((prompt, completion)) = prompt(row).zip(completion(row))
        && prompt != completion
        && counts(&[&prompt, &completion])
    {
        return Some(pair(row, prompt, completion));
    }
    let text = |names: &[&str]| row.find(names, is_text);
    if let Some((prompt, completion)) = text(SUMMARISED).zip(text(SUMMARY))
        && counts(&[&prompt, &completion])
    {
        return Some(Mapping::PromptCompletion {
            system: row.find(SYSTEM, is_system),
            history: None,
            prompt,
            input: None,
            completion,
            verdict: None,
        });
    }
    match decision(row) {
        // What an annotator turned down is nothing to learn.
        Some(false) => return None,
        Some(true) => {}
        None => {
            let answered = answered_text(row, Answer::Present);
            if let Some((text, answer)) = answered.filter(|(text, _)| counts(&[text])) {
                return Some(pair(row, text, answer));
            }
        }
    }
    if let (Some(text), Some(label)) = (text(LABELLED), row.find(LABEL, is_label))
        && text != label
        && counts(&[&text])
    {
        return Some(Mapping::Classification { text, label });
    }
    if let Some(text) = text(TEXT).filter(|text| counts(&[text])) {
        return Some(Mapping::Text { text });
    }
    // A conversation by its content, whatever it is called.
    let (name, ..) = row
        .all()
        .find(|(_, plain, value)| !is_of_rejected(plain) && is_list_of_messages(value))?;
    Some(messages_of(row, name.to_owned()))
}

/// Whether a field has to hold an answer, or only to be there for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Present,
    OrNull,
}

/// A text and what answers it: an e-mail and its reply, a ticket's body and its answer. Only where the row has no column
/// for a prompt: there, a blank prompt says that the text stands alone. `target` and its like are left to labels.
fn answered_text(row: &Row, answer: Answer) -> Option<(String, String)> {
    if row.find_or_null(PROMPT, |_| true).is_some() {
        return None;
    }
    let names: Vec<&str> = COMPLETION
        .iter()
        .copied()
        .filter(|name| !LABEL.contains(name))
        .collect();
    let is_answer = |value: &Value| !value.is_null();
    let answer = match answer {
        Answer::Present => row.find(&names, is_answer),
        Answer::OrNull => row.find_or_null(&names, is_answer),
    }?;
    let text = row
        .find(LABELLED, is_text)
        .or_else(|| row.find(TEXT, is_text))?;
    Some((text, answer))
}

/// The text of a row and its missing answer, for a file whose other texts have one.
pub fn unanswered(fields: &Fields) -> Option<Mapping> {
    let row = Row::new(fields);
    let (text, answer) = answered_text(&row, Answer::OrNull)?;
    Some(pair(&row, text, answer))
}

/// Whether a mapping's prompt is a text that the row answers.
pub fn is_answered_text(fields: &Fields, mapping: &Mapping) -> bool {
    let Mapping::PromptCompletion {
        prompt, completion, ..
    } = mapping
    else {
        return false;
    };
    let answered = answered_text(&Row::new(fields), Answer::Present);
    answered.is_some_and(|(text, answer)| text == *prompt && answer == *completion)
}

/// Two answers of which one is better, with the names of both. Where only the rejected one has a name of its own, the
/// other is the row's completion, or the last message of its conversation, as ms-swift writes them.
fn preference(row: &Row) -> Option<(String, String, Mapping)> {
    let is_answer = |value: &Value| value.is_string() || value.is_array() || value.is_object();
    let rejected = row.find(REJECTED, is_answer)?;
    let asked = prompt(row);
    let messages = row.find(MESSAGES, is_conversation);
    let (prompt, chosen) = match (row.find(CHOSEN, is_answer), completion(row), messages) {
        (Some(chosen), _, messages) => (asked.or(messages), chosen),
        (None, Some(chosen), messages) => (asked.or(messages), chosen),
        (None, None, Some(messages)) => (None, messages),
        (None, None, None) => return None,
    };
    let mapping = Mapping::Preference {
        system: row.find(SYSTEM, is_system),
        history: row.find(HISTORY, is_conversation),
        input: input(row, prompt.as_deref().unwrap_or_default(), &chosen),
        prompt,
        chosen: chosen.clone(),
        rejected: rejected.clone(),
    };
    Some((chosen, rejected, mapping))
}

/// A conversation, with the name of its field.
fn conversation(row: &Row) -> Option<(String, Mapping)> {
    let tree = row.find(TREE, is_tree);
    let is_gemini = |value: &Value| {
        value
            .as_array()
            .is_some_and(|list| list.iter().all(has_role))
    };
    let messages = tree
        .or_else(|| row.find(MESSAGES, is_conversation))
        .or_else(|| row.find(CONTENTS, is_gemini))?;
    // Messages that end with a question, and the answer in another field.
    if let Some(answer) = completion(row).filter(|answer| row.is_filled(answer))
        && answer != messages
        && row.value(&messages).is_some_and(ends_with_a_question)
    {
        return Some((messages.clone(), pair(row, messages, answer)));
    }
    Some((messages.clone(), messages_of(row, messages)))
}

fn messages_of(row: &Row, messages: String) -> Mapping {
    let system = row.find(SYSTEM, is_system).or_else(|| {
        let is_alone = row.value(&messages).is_some_and(|list| !has_system(list));
        let system = row.find(SYSTEM_OF_MESSAGES, is_text);
        system.filter(|name| is_alone && row.is_filled(name))
    });
    Mapping::Messages {
        system,
        verdict: judging(row),
        messages,
    }
}

fn pair(row: &Row, prompt: String, completion: String) -> Mapping {
    Mapping::PromptCompletion {
        system: row.find(SYSTEM, is_system),
        history: row.find(HISTORY, is_conversation),
        input: input(row, &prompt, &completion),
        verdict: judging(row),
        prompt,
        completion,
    }
}

/// The field that marks the answer as good or bad.
fn judging(row: &Row) -> Option<String> {
    VERDICT.iter().find_map(|name| {
        let is_mark = |value: &Value| verdict(name, value).is_some();
        row.find(&[name], is_mark)
    })
}

/// What belongs to the prompt besides: a text, or choices.
fn input(row: &Row, prompt: &str, completion: &str) -> Option<String> {
    let is_input = |value: &Value| is_text(value) || choice::is_list(value);
    // Earlier turns as one text, or what happened before: they belong to the prompt.
    let is_told = |value: &Value| is_text(value) && !is_conversation(value);
    let input = row
        .find_or_null(INPUT, is_input)
        .filter(|input| row.is_filled(input))
        .or_else(|| row.find(HISTORY, is_told))
        .or_else(|| row.find_or_null(INPUT, is_input))?;
    let is_taken =
        input == prompt || input == completion || prompt.starts_with(&format!("{input}."));
    (!is_taken).then_some(input)
}

/// What is asked; messages inside an object (`{"input": {"messages": [..]}}`) by their path.
fn prompt(row: &Row) -> Option<String> {
    let name = row.find(PROMPT, |value| !value.is_null())?;
    let inner = row.value(&name).and_then(Value::as_object);
    let messages = inner.and_then(|fields| {
        let is_it = |(name, value): &(&String, &Value)| {
            MESSAGES.contains(&plain(name).as_str()) && is_conversation(value)
        };
        fields.iter().find(is_it)
    });
    Some(match messages {
        Some((inner, _)) => format!("{name}.{inner}"),
        None => name,
    })
}

/// What is answered. A chosen answer is one, too, where the column of rejected ones is empty in this row.
fn completion(row: &Row) -> Option<String> {
    let is_answer = |value: &Value| value.is_string() || value.is_array() || value.is_object();
    row.find(COMPLETION, |value| !value.is_null())
        .or_else(|| {
            let chosen = row.find(CHOSEN, is_answer)?;
            let has_rejected = row.find_or_null(REJECTED, |_| false).is_some();
            has_rejected.then_some(chosen)
        })
        // An object whose fields are all null says that nothing was found.
        .or_else(|| row.find_nulls(COMPLETION))
}

/// The field of a prompt or of its answer that is null where the other one is not.
pub fn missing_half(fields: &Fields) -> Option<String> {
    let row = Row::new(fields);
    let find = |names: &[&str]| row.find_or_null(names, |value| !value.is_null());
    let (prompt, answer) = (find(PROMPT)?, find(COMPLETION)?);
    let is_null = |name: &String| row.value(name).is_some_and(Value::is_null);
    match (is_null(&prompt), is_null(&answer)) {
        (true, false) => Some(prompt),
        (false, true) => Some(answer),
        _ => None,
    }
}

/// Whether an annotator accepted the row, where its `answer` is no answer but says that, as Prodigy writes it.
fn decision(row: &Row) -> Option<bool> {
    row.find(&["inputhash", "taskhash", "label", "spans"], |_| true)?;
    let name = row.find(&["answer"], is_text)?;
    match row.value(&name)?.as_str()? {
        "accept" => Some(true),
        "reject" | "ignore" => Some(false),
        _ => None,
    }
}

/// Whether a field of that name holds an answer that was rejected.
pub fn is_of_rejected(plain: &str) -> bool {
    REJECTED.contains(&plain)
}

/// Whether a field's name says that it is half of a pair.
pub fn is_half(name: &str) -> bool {
    let halves = [PROMPT, COMPLETION, CHOSEN, REJECTED];
    halves
        .iter()
        .any(|names| names.contains(&plain(name).as_str()))
}

/// The row's only text.
fn lone_text(fields: &Fields) -> Option<Mapping> {
    let mut filled = fields.iter().filter(|(_, value)| !value.is_null());
    match (filled.next(), filled.next()) {
        // Half of a pair is no text.
        (Some((name, Value::String(_))), None) if !is_half(name) => {
            Some(Mapping::Text { text: name.clone() })
        }
        _ => None,
    }
}

fn is_text(value: &Value) -> bool {
    value.is_string()
}

/// A text, or an instruction as Gemini and Bedrock write it.
fn is_system(value: &Value) -> bool {
    value.is_string() || value.is_array() || value.is_object()
}

/// A label, or a list of them.
fn is_label(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().all(Value::is_string),
        value => scalar(value).is_some(),
    }
}

/// A list, also one that a table's cell holds as JSON, or an object of lists.
fn is_conversation(value: &Value) -> bool {
    match value {
        Value::Array(_) => true,
        Value::String(text) => looks_composite(text),
        object => is_of_lists(object) || is_tree(object),
    }
}

/// A list of objects with a role, one of them the assistant's.
fn is_list_of_messages(value: &Value) -> bool {
    let list = value.as_array();
    list.is_some_and(|list| {
        list.iter().all(has_role) && list.iter().any(|item| role_of(item) == Some("assistant"))
    })
}

/// Whether a list of messages, also one in a table's cell, has a system message.
fn has_system(value: &Value) -> bool {
    let opened = opened(value);
    let list = opened.as_array();
    list.is_some_and(|list| list.iter().any(|item| role_of(item) == Some("system")))
}

/// A list of messages whose last one is not the assistant's.
fn ends_with_a_question(value: &Value) -> bool {
    let last = value.as_array().and_then(|list| list.last());
    last.is_some_and(|last| has_role(last) && role_of(last) == Some("user"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(record: Value) -> Option<Mapping> {
        let fields: Vec<_> = record.as_object().unwrap().clone().into_iter().collect();
        recognize(&fields)
    }

    fn pair(prompt: &str, input: Option<&str>, completion: &str) -> Option<Mapping> {
        Some(Mapping::PromptCompletion {
            system: None,
            history: None,
            prompt: prompt.to_owned(),
            input: input.map(str::to_owned),
            completion: completion.to_owned(),
            verdict: None,
        })
    }

    fn conversation(messages: &str) -> Option<Mapping> {
        Some(Mapping::Messages {
            messages: messages.to_owned(),
            system: None,
            verdict: None,
        })
    }

    fn preference(prompt: &str) -> Option<Mapping> {
        Some(Mapping::Preference {
            system: None,
            history: None,
            prompt: Some(prompt.to_owned()),
            input: None,
            chosen: "chosen".to_owned(),
            rejected: "rejected".to_owned(),
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
                pair("question", Some("context"), "answers"),
            ),
            (
                json!({"question": "q", "answers": ["a", "b"]}),
                pair("question", None, "answers"),
            ),
            (
                json!({"conversations": [{"from": "human", "value": "q"}]}),
                conversation("conversations"),
            ),
            (
                json!({"id": 3, "messages": "[{\"role\": \"user\"}]"}),
                conversation("messages"),
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
                preference("prompt"),
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
                json!({"body": "b", "answer": "a", "category": "billing"}),
                pair("body", None, "answer"),
            ),
            (
                json!({"id": 7, "Email": "e", "Text": "t", "Reply": ""}),
                pair("Text", None, "Reply"),
            ),
            // A text's label, its number of stars or its twin is not its answer; a column for prompts has the say.
            (
                json!({"text": "t", "target": "spam"}),
                Some(Mapping::Classification {
                    text: "text".into(),
                    label: "target".into(),
                }),
            ),
            (
                json!({"text": "t", "prompt": "", "completion": ""}),
                Some(Mapping::Text {
                    text: "text".into(),
                }),
            ),
            (
                json!({"question": "q", "options": "A. x\nB. y", "answer": "A. x"}),
                pair("question", Some("options"), "answer"),
            ),
            (
                json!({"input": [{"role": "user", "content": "q"}], "ideal": ["a", "b"]}),
                pair("input", None, "ideal"),
            ),
            (
                json!({"sample": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}),
                conversation("sample"),
            ),
            (
                json!({"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "c"},
                    "rejected": {"from": "gpt", "value": "r"}}),
                preference("conversations"),
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
