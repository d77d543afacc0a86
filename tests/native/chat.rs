//! Conversations: several models that each go on with their own, what they read, and where the context ends.

use engine::{
    data::Encoder,
    generate::{GenerationInput, generate},
    tokenizer::Tokenizer,
    workbench::Workbench,
};
use futures_executor::block_on;
use protocol::{
    AdapterId, Command, Conversation, Event, Failure, FailureKind, GenerationId, GenerationSpec,
    GenerationSummary, Message, Precision, PromptPreview, Speaker, StopReason,
};

use crate::common::{
    golden::{self, continued},
    host::ScriptedHost,
    load,
    random::Random,
    workbench::{self, adapter, load_model, named},
};

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// A workbench with the tiny model, whose chat template may be missing, and two adapters.
fn bench<'h>(host: &'h ScriptedHost, template: Option<&str>) -> Workbench<'h> {
    let mut bench = workbench::empty(host);
    let mut files = golden::sources("tiny");
    if let Some(template) = template {
        files.push(named("chat_template.jinja", template.as_bytes().to_vec()));
    }
    load_model(&mut bench, files);
    for case in ["lora.all_linear", "lora.regex"] {
        block_on(bench.handle(Command::LoadAdapter {}, adapter(case)));
    }
    host.events.borrow_mut().clear();
    bench
}

/// The user speaks first, then model and user in turn.
fn conversation(speaker: Speaker, turns: &[&str]) -> Conversation {
    let roles = ["user", "assistant"].into_iter().cycle();
    let messages = roles
        .zip(turns)
        .map(|(role, text)| Message::new(role, *text));
    Conversation {
        speaker,
        messages: messages.collect(),
        tools: Vec::new(),
    }
}

fn spec(conversations: Vec<Conversation>) -> GenerationSpec {
    GenerationSpec {
        conversations,
        as_text: false,
        max_new_tokens: 6,
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        repetition_penalty: 1.0,
        seed: 7,
    }
}

type Answer = (Speaker, String, GenerationSummary);

/// Every answer in the order in which they ended, or why there were no more.
fn ask(
    bench: &mut Workbench<'_>,
    host: &ScriptedHost,
    spec: GenerationSpec,
) -> (Vec<Answer>, Option<Failure>) {
    host.events.borrow_mut().clear();
    let id = GenerationId(1);
    block_on(bench.handle(Command::Generate { id, spec }, Vec::new()));
    let (mut answers, mut text, mut failed) = (Vec::new(), String::new(), None);
    for (_, event) in host.events.borrow().iter() {
        match event {
            Event::GenerationText { text: more, .. } => text.push_str(more),
            Event::GenerationDone {
                speaker, summary, ..
            } => {
                answers.push((*speaker, std::mem::take(&mut text), summary.clone()));
            }
            Event::Failed { failure } => failed = Some(failure.clone()),
            event => panic!("{event:?}"),
        }
    }
    (answers, failed)
}

fn preview(
    bench: &mut Workbench<'_>,
    host: &ScriptedHost,
    conversations: Vec<Conversation>,
    as_text: bool,
) -> Result<Vec<PromptPreview>, Failure> {
    let command = Command::PreviewPrompts {
        conversations,
        as_text,
    };
    block_on(bench.handle(command, Vec::new()));
    match host.events.borrow().last() {
        Some((_, Event::PromptsPreviewed { prompts })) => prompts.clone(),
        event => panic!("{event:?}"),
    }
}

fn text_of(preview: &PromptPreview) -> String {
    let text: String = preview
        .tokens
        .iter()
        .map(|token| token.text.as_str())
        .collect();
    text.replace('·', " ")
}

#[test]
fn each_model_goes_on_with_its_own_conversation() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host, Some(CHATML));
    let first = Speaker::Adapter(AdapterId(1));
    let conversations = vec![
        conversation(Speaker::Base, &["the", "a base's answer", "and"]),
        conversation(
            first,
            &["the", "an adapter's answer, which is longer", "and"],
        ),
        conversation(Speaker::Adapter(AdapterId(2)), &["and"]),
    ];
    let (answers, failed) = ask(&mut bench, &host, spec(conversations.clone()));
    assert_eq!(failed, None);
    let speakers: Vec<Speaker> = answers.iter().map(|answer| answer.0).collect();
    let asked: Vec<Speaker> = conversations.iter().map(|asked| asked.speaker).collect();
    assert_eq!(speakers, asked);

    // What is shown is what was read, token for token.
    let prompts = preview(&mut bench, &host, conversations.clone(), false).unwrap();
    for ((prompt, conversation), (_, _, summary)) in
        prompts.iter().zip(&conversations).zip(&answers)
    {
        assert_eq!(prompt.speaker, conversation.speaker);
        assert_eq!(prompt.tokens.len(), summary.prompt_tokens);
        assert_eq!((prompt.context_length, prompt.virtual_tokens), (128, 0));
        let text = text_of(prompt);
        for message in &conversation.messages {
            assert!(text.contains(&message.content), "{text}");
        }
        assert!(text.trim_end().ends_with("<|im_start|>assistant"), "{text}");
        assert!(prompt.tokens[0].is_special && !prompt.tokens[0].is_trained);
    }

    // Alone, each answers as among others: from the same seed.
    for (conversation, answer) in conversations.iter().zip(&answers) {
        let (alone, _) = ask(&mut bench, &host, spec(vec![conversation.clone()]));
        assert_eq!(alone[0].1, answer.1);
    }
}

#[test]
fn text_is_continued_where_there_is_no_template_or_none_is_wanted() {
    for template in [None, Some(CHATML)] {
        let host = ScriptedHost::default();
        let mut bench = bench(&host, template);
        let asked = conversation(Speaker::Base, &["Once upon", " a time", " there was"]);
        let prompts = preview(&mut bench, &host, vec![asked], template.is_some()).unwrap();
        let text = text_of(&prompts[0]);
        assert!(text.ends_with("Once upon a time there was"), "{text}");
        assert!(!text.contains("assistant"), "{text}");
    }
}

#[test]
fn an_adapter_that_is_gone_is_told() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host, Some(CHATML));
    let gone = conversation(Speaker::Adapter(AdapterId(9)), &["the"]);
    let base = conversation(Speaker::Base, &["the"]);
    let (answers, failed) = ask(&mut bench, &host, spec(vec![base, gone.clone()]));
    assert_eq!(answers.len(), 1, "the base has answered before");
    assert_eq!(failed.unwrap().kind, FailureKind::WrongState);
    let refused = preview(&mut bench, &host, vec![gone], false).unwrap_err();
    assert_eq!(refused.kind, FailureKind::WrongState);
}

#[test]
fn a_template_that_refuses_the_conversation_is_told() {
    let strict =
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}";
    let host = ScriptedHost::default();
    let mut bench = bench(&host, Some(strict));
    let mut asked = conversation(Speaker::Base, &["the"]);
    asked
        .messages
        .insert(0, Message::new("system", "Be brief."));
    let refused = preview(&mut bench, &host, vec![asked.clone()], false).unwrap_err();
    assert_eq!(refused.kind, FailureKind::Template);
    assert!(refused.what.contains("no system"), "{}", refused.what);
    let (_, failed) = ask(&mut bench, &host, spec(vec![asked]));
    assert_eq!(failed.map(|failure| failure.what), Some(refused.what));
}

#[test]
fn a_full_context_ends_the_answer_and_refuses_the_next_one() {
    let host = ScriptedHost::default();
    let mut bench = bench(&host, None);
    let mut text = String::new();
    let num_tokens = loop {
        text.push_str(" the and");
        let asked = conversation(Speaker::Base, &[&text]);
        let prompts = preview(&mut bench, &host, vec![asked], false).unwrap();
        let num_tokens = prompts[0].tokens.len();
        if num_tokens > 110 {
            break num_tokens;
        }
    };
    let asked = conversation(Speaker::Base, &[&text]);
    let long = GenerationSpec {
        max_new_tokens: 1000,
        ..spec(vec![asked])
    };
    let (answers, _) = ask(&mut bench, &host, long);
    let summary = &answers[0].2;
    assert_eq!(summary.context_length, 128);
    match summary.stop_reason {
        StopReason::ContextFull => assert_eq!(num_tokens + summary.new_tokens, 128),
        reason => assert_eq!(reason, StopReason::EndOfTurn),
    }

    let asked = conversation(Speaker::Base, &[&text.repeat(2)]);
    let (answers, failed) = ask(&mut bench, &host, spec(vec![asked]));
    let failure = failed.unwrap();
    assert!(answers.is_empty());
    assert_eq!(failure.kind, FailureKind::Settings);
    assert!(
        failure.what.contains("leaves no room for an answer"),
        "{}",
        failure.what
    );
    assert!(
        failure.what.contains("can read 128 at most"),
        "{}",
        failure.what
    );
}

/// A conversation that is read in several passes is answered as in one.
#[test]
fn a_long_conversation_is_read_in_pieces() {
    let mut random = Random::new();
    let mut model = load::fixture_model("tiny");
    model.config.max_position_embeddings = 4096;
    let files = block_on(golden::files("tiny"));
    let tokenizer = Tokenizer::from_source(&files.tokenizer)
        .unwrap()
        .with_model_ids(files.config.bos_token_id, &files.config.eos_token_ids);
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: None,
    };
    let words = ["the ", "and ", "a ", "of ", "is "];
    let text: String = (0..random.size(400..900))
        .map(|_| words[random.size(0..words.len())])
        .collect();
    let conversation = conversation(Speaker::Base, &[&text]);
    let prompt = encoder.render_chat(&conversation, false).unwrap();
    assert!(prompt.len() > 300, "{}", prompt.len());
    let spec = GenerationSpec {
        temperature: 0.0,
        ..spec(vec![conversation.clone()])
    };
    let mut expected = block_on(continued(&model, &prompt, spec.max_new_tokens));
    let end = expected
        .iter()
        .position(|id| tokenizer.end_of_turn_ids().contains(id));
    expected.truncate(end.unwrap_or(expected.len()));

    let host = ScriptedHost::default();
    let input = GenerationInput {
        conversation: &conversation,
        spec: &spec,
        model: &model,
        encoder,
        adapter: None,
        precision: Precision::Single,
    };
    let summary = block_on(generate(input, &host)).unwrap();
    assert_eq!(summary.prompt_tokens, prompt.len());
    let events = host.events.borrow();
    let text: String = events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::GenerationText { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(text, tokenizer.decode(&expected, true).unwrap());
    let passes = prompt.len().div_ceil(256) + summary.new_tokens;
    assert!(
        host.num_yields.get() as usize >= passes - 1,
        "it yields between passes"
    );
}
