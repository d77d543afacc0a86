//! Compares text generated with a cache of keys and values with passes over the whole text.

use engine::{
    data::Encoder,
    generate::{GenerationInput, generate},
    template::ChatTemplate,
    tokenizer::Tokenizer,
};
use protocol::{Conversation, Event, GenerationSpec, Message, Precision, Speaker, StopReason};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{
    common::{
        golden::{self, likeliest, logits},
        host::ScriptedHost,
    },
    device::{device, random},
};

const NUM_TOKENS: usize = 12;

#[wasm_bindgen_test]
async fn a_cache_changes_no_token() {
    let mut random = random();
    for name in ["tiny", "odd"] {
        let model = golden::model(name, &device().await).await;
        let prompt: Vec<u32> = (0..random.size(3..20))
            .map(|_| random.size(0..320) as u32)
            .collect();
        let continued = golden::continued(&model, &prompt, NUM_TOKENS).await;
        let mut text = prompt;
        for (index, id) in continued.into_iter().enumerate() {
            let whole = logits(&model, &text).await;
            let last = &whole[text.len() - 1];
            let best = likeliest(last);
            // Another id is right only where both logits are the same but for rounding.
            let lead = last[best as usize] - last[id as usize];
            assert!(lead <= 1e-4, "{name}, token {index} is {id}, not {best}");
            text.push(id);
        }
    }
}

/// The whole way from a prompt through template and tokenizer to streamed text.
#[wasm_bindgen_test]
async fn a_prompt_is_answered_with_the_likeliest_tokens() {
    let files = golden::files("tiny").await;
    let model = golden::model("tiny", &device().await).await;
    let tokenizer = Tokenizer::from_source(&files.tokenizer)
        .unwrap()
        .with_model_ids(files.config.bos_token_id, &files.config.eos_token_ids);
    let source = files.chat_template.as_deref().or(tokenizer.chat_template());
    let template = source.map(|source| ChatTemplate::new(source, &tokenizer).unwrap());
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: template.as_ref(),
    };
    let conversation = Conversation {
        speaker: Speaker::Base,
        messages: vec![Message::new("user", "Name three woods.")],
        tools: Vec::new(),
    };
    let spec = GenerationSpec {
        conversations: vec![conversation.clone()],
        as_text: false,
        max_new_tokens: NUM_TOKENS,
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        repetition_penalty: 1.0,
        seed: 1,
    };
    let prompt = encoder.render_chat(&conversation, false).unwrap();
    let mut expected = golden::continued(&model, &prompt, NUM_TOKENS).await;
    let end = expected
        .iter()
        .position(|id| tokenizer.end_of_turn_ids().contains(id));
    expected.truncate(end.unwrap_or(NUM_TOKENS));

    let input = GenerationInput {
        conversation: &conversation,
        spec: &spec,
        model: &model,
        encoder,
        adapter: None,
        precision: Precision::Single,
    };
    let host = ScriptedHost::default();
    let summary = generate(input, &host).await.unwrap();
    assert_eq!(summary.new_tokens, expected.len());
    let ended = summary.stop_reason == StopReason::EndOfTurn;
    assert_eq!(ended, end.is_some());
    let events = host.events.borrow();
    let text: String = events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::GenerationText { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(text, tokenizer.decode(&expected, true).unwrap());
}
