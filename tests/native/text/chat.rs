//! Training and answering write the same prefix, on the stock chat templates.

use engine::{
    data::{Encoder, Example, Row},
    protocol::{Conversation, DataSpec, Message, RowShape, Speaker},
};

use crate::{golden::golden, masks::Masks};

const TOOL: &str = r#"{"type": "function", "function": {"name": "find", "description": "Finds a thing.", "parameters": {"type": "object", "properties": {"what": {"type": "string"}}}}}"#;

/// How a chat is written up to the model's turn.
fn chat(messages: &[Message], tools: &[String]) -> Conversation {
    Conversation {
        speaker: Speaker::Base,
        messages: messages.to_vec(),
        tools: tools.to_vec(),
    }
}

/// The tokens of a trained row before the first one that is learned, when only the last answer is.
fn context(encoder: Encoder<'_>, messages: &[Message], tools: &[String]) -> Option<Vec<u32>> {
    let row = Row {
        row: 0,
        example: Example::Conversation {
            messages: messages.to_vec(),
            tools: tools.to_vec(),
            first_trained: messages.len() - 1,
            shape: RowShape::PromptCompletion,
        },
    };
    let spec = DataSpec {
        max_seq_length: usize::MAX,
        ..DataSpec::default()
    };
    let (sequence, _) = encoder.encode(&row, &spec).ok()?;
    let first = sequence.loss_mask.iter().position(|&learned| learned)?;
    Some(sequence.ids[..first].to_vec())
}

#[test]
fn a_chat_is_written_as_the_rows_that_were_learned() {
    let masks: Masks = golden("masks.json.gz");
    let turns = [
        ("user", "Where is it?"),
        ("assistant", "On the shelf."),
        ("user", "Which one?"),
        ("assistant", "The third."),
    ];
    let turns: Vec<Message> = turns.map(|(role, text)| Message::new(role, text)).into();
    let with_system = [&[Message::new("system", "Be brief.")], &*turns].concat();
    let tools = [TOOL.to_owned()];
    let kinds: [(&[Message], &[String]); 5] = [
        (&turns[..2], &[]),
        (&turns, &[]),
        (&with_system[..3], &[]),
        (&with_system, &[]),
        (&with_system, &tools),
    ];
    let (mut num_same, mut refused) = (0, Vec::new());
    for family in &masks.families {
        let tokenizer = family.tokenizer();
        let template = family.template(&tokenizer);
        let encoder = Encoder {
            tokenizer: &tokenizer,
            template: Some(&template),
        };
        for (index, (messages, tools)) in kinds.iter().enumerate() {
            let place = format!("{} {index}", family.name);
            let Some(context) = context(encoder, messages, tools) else {
                refused.push(place);
                continue;
            };
            let asked = chat(&messages[..messages.len() - 1], tools);
            let prompt = encoder.render_chat(&asked, false).unwrap();
            assert_eq!(prompt, context, "{place}");
            num_same += 1;
        }
    }
    println!("{num_same} the same, refused: {refused:?}");
    assert!(refused.len() <= 6, "{refused:?}");
    assert!(num_same >= 60, "{num_same}");
}

#[test]
fn text_is_continued_as_plain_rows_are_learned() {
    let masks: Masks = golden("masks.json.gz");
    for family in &masks.families {
        let tokenizer = family.tokenizer();
        let encoder = Encoder {
            tokenizer: &tokenizer,
            template: None,
        };
        let row = Row {
            row: 0,
            example: Example::Text("Once upon a time there was".to_owned()),
        };
        let (sequence, _) = encoder.encode(&row, &DataSpec::default()).unwrap();
        let asked = [
            Message::new("user", "Once upon"),
            Message::new("assistant", " a time"),
            Message::new("user", " there was"),
        ];
        let prompt = encoder.render_chat(&chat(&asked, &[]), true).unwrap();
        assert_eq!(sequence.ids[..prompt.len()], prompt, "{}", family.name);
    }
}
