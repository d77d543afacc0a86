//! Rendered conversations and the tokens that are learnt, against HF's templates and masks.

use engine::{
    data::{Encoder, Example, Row},
    protocol::RowShape,
    template::{ChatTemplate, Message},
};
use serde::Deserialize;

use crate::golden::{golden, model_tokenizer};

#[derive(Deserialize)]
struct Chat {
    conversations: Vec<Conversation>,
    messages: Vec<WrittenMessage>,
    renders: Vec<Render>,
}

#[derive(Deserialize)]
struct WrittenMessage {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<WrittenMessage>,
    text: String,
    prompt: String,
    ids: Vec<u32>,
    /// `0` and `1`, one for each token
    mask: String,
}

#[derive(Deserialize)]
struct Render {
    name: String,
    template: String,
    add_generation_prompt: bool,
    text: String,
}

fn messages(written: &[WrittenMessage]) -> Vec<Message> {
    written
        .iter()
        .map(|message| Message::new(message.role.as_str(), message.content.as_str()))
        .collect()
}

#[test]
fn conversations_are_rendered_and_masked_as_by_hf() {
    let Some((tokenizer, model)) =
        model_tokenizer("conversations_are_rendered_and_masked_as_by_hf")
    else {
        return;
    };
    let template = ChatTemplate::new(&model.chat_template.unwrap(), &tokenizer).unwrap();
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: Some(&template),
    };
    let chat: Chat = golden("chat.json.gz");
    assert!(chat.conversations.len() > 100);
    for conversation in chat.conversations {
        let messages = messages(&conversation.messages);
        assert_eq!(
            template.render(&messages, false).unwrap(),
            conversation.text
        );
        let before_answer = &messages[..messages.len() - 1];
        assert_eq!(
            template.render(before_answer, true).unwrap(),
            conversation.prompt
        );
        let row = Row {
            row: 0,
            example: Example::Conversation {
                messages,
                first_trained: 0,
                shape: RowShape::Messages,
            },
        };
        let (sequence, num_cut) = encoder.encode(&row, usize::MAX).unwrap();
        assert_eq!(num_cut, 0);
        assert_eq!(sequence.ids, conversation.ids);
        let mask: String = sequence
            .loss_mask
            .iter()
            .map(|&learnt| if learnt { '1' } else { '0' })
            .collect();
        assert_eq!(mask, conversation.mask, "{:?}", conversation.text);
    }
}

#[test]
fn templates_of_other_models_render_as_by_jinja() {
    let chat: Chat = golden("chat.json.gz");
    let messages = messages(&chat.messages);
    for render in chat.renders {
        let tokens = vec![
            ("bos_token", "<|im_start|>".to_owned()),
            ("eos_token", "<|im_end|>".to_owned()),
        ];
        let template = ChatTemplate::with_tokens(&render.template, tokens).unwrap();
        assert_eq!(
            template
                .render(&messages, render.add_generation_prompt)
                .unwrap(),
            render.text,
            "{}",
            render.name
        );
    }
}
