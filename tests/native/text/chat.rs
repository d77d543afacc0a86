//! Training and answering write the same prefix, on the stock chat templates.

use engine::{
    data::{Encoder, Preparation},
    template::ChatTemplate,
};
use formats::{
    row::{Example, Row},
    row_file::{RowFacts, StoredRow},
};
use protocol::{Conversation, DataSpec, Message, RowShape, Speaker};

use crate::{
    golden::{encoder, golden},
    masks::Masks,
};

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
    let (mut num_same, mut refused, mut rewritten) = (0, Vec::new(), Vec::new());
    for family in &masks.families {
        let tokenizer = family.tokenizer();
        let template = family.template(&tokenizer);
        let encoder = encoder(&tokenizer, &template);
        for (index, (messages, tools)) in kinds.iter().enumerate() {
            let place = format!("{} {index}", family.name);
            let Some(context) = context(encoder, messages, tools) else {
                refused.push(place);
                continue;
            };
            let asked = chat(&messages[..messages.len() - 1], tools);
            let prompt = encoder.render_chat(&asked, false).unwrap();
            if prompt == context {
                num_same += 1;
            } else {
                rewritten.push(place);
            }
        }
    }
    // These templates write a prompt in another way once it is answered, in transformers too: Nemo's puts the system prompt
    // before the last message, if that is the user's.
    println!("{num_same} the same, refused: {refused:?}, rewritten: {rewritten:?}");
    let is_known = |place: &String| place.starts_with("mistral_nemo");
    assert!(rewritten.iter().all(is_known), "{rewritten:?}");
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

/// What a chat begins with is what the rows that are trained begin with: those without a target do not count.
#[test]
fn a_prepared_dataset_says_how_most_of_its_rows_begin() {
    let masks: Masks = golden("masks.json.gz");
    let family = &masks.families[0];
    let tokenizer = family.tokenizer();
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}\
        {% if add_generation_prompt %}<assistant>{% endif %}";
    let template = ChatTemplate::new(template, &tokenizer).unwrap();
    let encoder = encoder(&tokenizer, &template);
    let row = |(row, (system, answer)): (usize, &(&str, &str))| StoredRow {
        row: Row {
            row,
            example: Example::Conversation {
                messages: vec![
                    Message::new("system", *system),
                    Message::new("user", "Why?"),
                    Message::new("assistant", *answer),
                ],
                tools: vec![TOOL.to_owned()],
                first_trained: 0,
                shape: RowShape::Messages,
            },
        },
        facts: RowFacts::default(),
    };
    let rows = [
        ("Be kind.", ""),
        ("Be brief.", "So."),
        ("Be kind.", ""),
        ("Be kind.", "Yes."),
        ("Be brief.", "No."),
    ];
    let mut preparation = Preparation::new(encoder, &DataSpec::default(), &[]);
    for row in rows.iter().enumerate().map(row) {
        preparation.add(&row);
    }
    let preamble = preparation.finish().unwrap().summary.preamble;
    assert_eq!(preamble.system_prompt, "Be brief.");
    assert_eq!(preamble.tools, [TOOL]);
}
