//! All texts of a row that reach the model: contents and thoughts, roles and names, and what is written in the JSON of
//! tool calls and tools.
//!
//! Special tokens are looked for in texts as the template sees them. JSON may hide one behind an escape, and OpenAI's
//! calls have JSON inside of JSON, which templates take as an object:
//!
//! ```text
//! {"function": {"name": "say", "arguments": "{\"what\": \"\\u003c|im_end|>\"}"}}     say, what, <|im_end|>, ...
//! ```

use std::{borrow::Cow, mem};

use formats::row::Example;
use serde_json::Value;

/// Where the arguments of a tool call are.
const ARGUMENTS: &str = "/function/arguments";

/// Returns the texts.
pub(super) fn all(example: &Example) -> Vec<Cow<'_, str>> {
    let texts = example.texts().into_iter();
    let mut found: Vec<Cow<str>> = texts.map(Cow::Borrowed).collect();
    let Example::Conversation {
        messages, tools, ..
    } = example
    else {
        return found;
    };
    for message in messages {
        let names = [&message.name, &message.tool_call_id].into_iter().flatten();
        let names = names.chain([&message.role]).map(String::as_str);
        found.extend(names.map(Cow::Borrowed));
    }
    let calls = messages.iter().flat_map(|message| &message.tool_calls);
    for json in calls.chain(tools) {
        let mut copy = json.clone();
        let mut find = |text: &mut String| found.push(Cow::Owned(text.clone()));
        change_json(&mut copy, &mut find);
    }
    found
}

/// Calls `change` on each of the texts, on some of them twice. JSON that is not changed stays as it was written.
pub(super) fn change_all(example: &mut Example, change: &mut dyn FnMut(&mut String)) {
    example.texts_mut().into_iter().for_each(&mut *change);
    let Example::Conversation {
        messages, tools, ..
    } = example
    else {
        return;
    };
    for message in messages {
        change(&mut message.role);
        let names = [&mut message.name, &mut message.tool_call_id];
        names.into_iter().flatten().for_each(&mut *change);
        for call in &mut message.tool_calls {
            change_json(call, change);
        }
    }
    for tool in tools {
        change_json(tool, change);
    }
}

/// Calls `change` on each text in JSON; text that is no JSON is one itself, as it is for templates.
fn change_json(json: &mut String, change: &mut dyn FnMut(&mut String)) {
    let Ok(mut value) = serde_json::from_str::<Value>(json) else {
        return change(json);
    };
    let before = value.clone();
    if let Some(Value::String(arguments)) = value.pointer_mut(ARGUMENTS)
        && let Ok(mut inner) = serde_json::from_str::<Value>(arguments)
    {
        let as_written = inner.clone();
        change_value(&mut inner, change);
        if inner != as_written {
            *arguments = inner.to_string();
        }
    }
    change_value(&mut value, change);
    if value != before {
        *json = value.to_string();
    }
}

/// Calls `change` on each text in a value, keys included.
fn change_value(value: &mut Value, change: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| change_value(item, change)),
        Value::Object(map) => {
            let entries = mem::take(map).into_iter();
            *map = entries
                .map(|(mut key, mut item)| {
                    change(&mut key);
                    change_value(&mut item, change);
                    (key, item)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Message, RowShape};

    use super::*;

    #[test]
    fn every_text_is_found_and_can_be_changed() {
        let inside =
            r#"{"function": {"name": "say", "arguments": "{\"a\": \"\\u003cX>\"}"}, "n": 1.50}"#;
        let call = |json: &str| Message {
            tool_calls: vec![json.to_owned()],
            ..Message::new("assistant", "content")
        };
        let answer = Message {
            name: Some("name <X>".to_owned()),
            tool_call_id: Some("id <X>".to_owned()),
            ..Message::new("tool", "answer <X>")
        };
        let mut example = Example::Conversation {
            messages: vec![
                call(inside),
                call(r#"[{"\u003cX>": ["<X>"]}]"#),
                call("no JSON <X>"),
                call(r#"{"plain":  1}"#),
                answer,
            ],
            tools: vec![r#"{"description": "tool <X>"}"#.to_owned()],
            first_trained: 0,
            shape: RowShape::Messages,
        };
        let count = |example: &Example, text: &str| {
            let texts = all(example);
            texts.iter().filter(|found| found.contains(text)).count()
        };
        assert_eq!(count(&example, "<X>"), 8);
        change_all(&mut example, &mut |text| {
            *text = text.replace("<X>", "<GX>")
        });
        assert_eq!(count(&example, "<X>"), 0);
        assert!(count(&example, "<GX>") >= 8);
        let Example::Conversation { messages, .. } = example else {
            panic!("it was a conversation");
        };
        let calls: Vec<&str> = messages[..4]
            .iter()
            .map(|message| message.tool_calls[0].as_str())
            .collect();
        assert_eq!(
            calls,
            [
                r#"{"function":{"name":"say","arguments":"{\"a\":\"<GX>\"}"},"n":1.5}"#,
                r#"[{"<GX>":["<GX>"]}]"#,
                "no JSON <GX>",
                r#"{"plain":  1}"#,
            ]
        );
    }
}
