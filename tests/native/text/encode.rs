//! Rendered conversations and the tokens that are learned, against HF's templates and masks.

use engine::{
    data::{EncodeError, Encoder, Preparation, TokenSequence, turn::TurnError},
    template::ChatTemplate,
    tokenizer::Tokenizer,
};
use formats::{
    row::{Example, Row},
    row_file::{RowFacts, StoredRow},
};
use proptest::prelude::*;
use protocol::{DataSpec, FileSummary, FindingKind, Message, RowShape, Side, Speaker, TrainOn};
use serde::Deserialize;

use crate::golden::{encoder, golden, model_tokenizer, tiny_tokenizer};

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

fn stored(row: &Row) -> StoredRow {
    StoredRow {
        row: row.clone(),
        facts: RowFacts {
            line: Some(row.row + 1),
            ..RowFacts::default()
        },
    }
}

#[test]
fn conversations_are_rendered_and_masked_as_by_hf() {
    let Some((tokenizer, model)) =
        model_tokenizer("conversations_are_rendered_and_masked_as_by_hf")
    else {
        return;
    };
    let template = ChatTemplate::new(&model.chat_template.unwrap(), &tokenizer).unwrap();
    let encoder = encoder(&tokenizer, &template);
    let chat: Chat = golden("chat.json.gz");
    assert!(chat.conversations.len() > 100);
    for conversation in chat.conversations {
        let messages = messages(&conversation.messages);
        assert_eq!(
            template.render(&messages, &[], false).unwrap(),
            conversation.text
        );
        let before_answer = &messages[..messages.len() - 1];
        assert_eq!(
            template.render(before_answer, &[], true).unwrap(),
            conversation.prompt
        );
        let row = Row {
            row: 0,
            example: Example::Conversation {
                messages,
                tools: Vec::new(),
                first_trained: 0,
                shape: RowShape::Messages,
            },
        };
        let (sequence, num_cut) = encoder.encode(&row, &spec(usize::MAX)).unwrap();
        assert_eq!(num_cut, 0);
        assert_eq!(sequence.ids, conversation.ids);
        let mask: String = sequence
            .loss_mask
            .iter()
            .map(|&learned| if learned { '1' } else { '0' })
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
                .render(&messages, &[], render.add_generation_prompt)
                .unwrap(),
            render.text,
            "{}",
            render.name
        );
    }
}

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fn spec(max_seq_length: usize) -> DataSpec {
    DataSpec {
        max_seq_length,
        ..DataSpec::default()
    }
}

fn pair(row: usize, prompt: &str, completion: &str) -> Row {
    Row {
        row,
        example: Example::Pair {
            prompt: prompt.to_owned(),
            completion: completion.to_owned(),
        },
    }
}

fn conversation(messages: Vec<Message>, first_trained: usize) -> Row {
    Row {
        row: 0,
        example: Example::Conversation {
            messages,
            tools: Vec::new(),
            first_trained,
            shape: RowShape::Messages,
        },
    }
}

/// The learned tokens as one text, and the others with a `·` for each learned one.
fn learned(tokenizer: &Tokenizer, sequence: &TokenSequence) -> (String, String) {
    let (mut learned, mut read) = (String::new(), String::new());
    for (&id, &is_learned) in sequence.ids.iter().zip(&sequence.loss_mask) {
        let text = tokenizer.decode(&[id], false).unwrap();
        if is_learned {
            learned += &text;
            read += "·";
        } else {
            read += &text;
        }
    }
    (learned, read)
}

#[test]
fn pairs_become_turns_where_there_is_a_template() {
    let tokenizer = tiny_tokenizer();
    let template = ChatTemplate::new(CHATML, &tokenizer).unwrap();
    let encoder = encoder(&tokenizer, &template);
    let (sequence, num_cut) = encoder.encode(&pair(7, "Why?", "So."), &spec(512)).unwrap();
    assert_eq!((sequence.row, num_cut), (7, 0));
    let (text, read) = learned(&tokenizer, &sequence);
    assert_eq!(text, "So.<|im_end|>\n");
    assert_eq!(
        read.replace('·', ""),
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    );
    let asked = protocol::Conversation {
        speaker: Speaker::Base,
        messages: vec![Message::new("user", "Why?")],
        tools: Vec::new(),
    };
    let prompt = encoder.render_chat(&asked, false).unwrap();
    assert_eq!(sequence.ids[..prompt.len()], prompt);
    assert!(!sequence.loss_mask[..prompt.len()].contains(&true));
}

#[test]
fn pairs_and_texts_end_in_eos_without_a_template() {
    let tokenizer = tiny_tokenizer();
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: None,
    };
    let (sequence, _) = encoder
        .encode(&pair(0, "Q: why?\nA:", " So."), &spec(512))
        .unwrap();
    assert_eq!(learned(&tokenizer, &sequence).0, " So.<|im_end|>");
    assert_eq!(sequence.ids.last(), Some(&2));
    let text = Row {
        row: 0,
        example: Example::Text("the end<|im_end|>".to_owned()),
    };
    let (sequence, _) = encoder.encode(&text, &spec(512)).unwrap();
    assert_eq!(sequence.ids.iter().filter(|&&id| id == 2).count(), 1);
    assert!(!sequence.loss_mask[0] && sequence.loss_mask[1..].iter().all(|&learned| learned));
    let chat = conversation(vec![Message::new("assistant", "a")], 0);
    assert_eq!(
        encoder.encode(&chat, &spec(512)),
        Err(EncodeError::NoTemplate)
    );
}

#[test]
fn rows_are_cut_at_the_end_and_refused_where_nothing_is_left() {
    let tokenizer = tiny_tokenizer();
    let template = ChatTemplate::new(CHATML, &tokenizer).unwrap();
    let encoder = encoder(&tokenizer, &template);
    let row = pair(0, "Why is that so?", "Nobody knows it, nobody at all.");
    let (whole, _) = encoder.encode(&row, &spec(usize::MAX)).unwrap();
    let first = whole.loss_mask.iter().position(|&learned| learned).unwrap();
    for len in 2..whole.ids.len() + 3 {
        match encoder.encode(&row, &spec(len)) {
            Ok((sequence, num_cut)) => {
                assert!(len > first);
                assert_eq!(sequence.ids, whole.ids[..len.min(whole.ids.len())]);
                assert_eq!(num_cut, whole.ids.len().saturating_sub(len));
            }
            Err(error) => {
                assert!(len <= first && error.is_without_target(), "{len} {error}");
            }
        }
    }
    for empty in ["", " \n"] {
        assert_eq!(
            encoder.encode(&pair(0, "a", empty), &spec(99)),
            Err(EncodeError::EmptyTarget)
        );
    }
    let preview = encoder.preview(
        &stored(&row),
        &DataSpec {
            max_seq_length: 9,
            ..DataSpec::default()
        },
        Some(Side::Validation),
    );
    let preview = preview.unwrap();
    assert_eq!(
        (preview.tokens.len(), preview.num_truncated),
        (9, whole.ids.len() - 9)
    );
    assert_eq!(preview.tokens[0].text, "<|im_start|>");
    assert!(preview.tokens[0].is_special && preview.side == Some(Side::Validation));
}

#[test]
fn a_conversation_in_the_prompt_is_context() {
    let tokenizer = tiny_tokenizer();
    let template = ChatTemplate::new(CHATML, &tokenizer).unwrap();
    let encoder = encoder(&tokenizer, &template);
    let turns = |texts: &[&str]| -> Vec<Message> {
        let roles = ["user", "assistant"].into_iter().cycle();
        roles
            .zip(texts)
            .map(|(role, text)| Message::new(role, *text))
            .collect()
    };
    let row = conversation(turns(&["a", "b", "c", "d", "e", "f"]), 2);
    let (sequence, _) = encoder.encode(&row, &spec(999)).unwrap();
    assert_eq!(
        learned(&tokenizer, &sequence).0,
        "d<|im_end|>\nf<|im_end|>\n"
    );
    // The token that ends a turn, spelled out in a content, ends no turn.
    let row = conversation(turns(&["a", "say <|im_end|> now", "c", "d"]), 0);
    let (sequence, _) = encoder.encode(&row, &spec(999)).unwrap();
    assert_eq!(
        learned(&tokenizer, &sequence).0,
        "say <|im_end|> now<|im_end|>\nd<|im_end|>\n"
    );
}

/// OpenAI's `"weight": 0`: read, but never learned, whatever else is.
#[test]
fn messages_that_are_context_are_never_learned() {
    let tokenizer = tiny_tokenizer();
    let context = |text: &str| Message {
        is_context: true,
        ..Message::new("assistant", text)
    };
    let messages = vec![
        Message::new("user", "one"),
        context("wrong"),
        Message::new("user", "two"),
        Message::new("assistant", "right"),
        Message::new("user", "three"),
        context("last"),
    ];
    // Plain ChatML, the same with HF's marks, and one that rewrites what came before.
    let marked = CHATML.replace(
        "+ m.content + '<|im_end|>\n' }}",
        "}}{% generation %}{{ m.content + '<|im_end|>\n' }}{% endgeneration %}",
    );
    assert!(marked.contains("generation %}{{ m.content"));
    let rewriting = "{{ messages|length }}{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}{{ eos_token }}\
        {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    for source in [CHATML, &marked, rewriting] {
        let template = ChatTemplate::new(source, &tokenizer).unwrap();
        let encoder = encoder(&tokenizer, &template);
        for shape in [RowShape::Messages, RowShape::PromptCompletion] {
            let row = Row {
                row: 0,
                example: Example::Conversation {
                    messages: messages.clone(),
                    tools: Vec::new(),
                    first_trained: 0,
                    shape,
                },
            };
            for train_on in [
                TrainOn::AssistantTurns,
                TrainOn::LastTurn,
                TrainOn::Everything,
            ] {
                let spec = DataSpec {
                    train_on,
                    ..spec(999)
                };
                let (sequence, _) = encoder.encode(&row, &spec).unwrap();
                let (text, read) = learned(&tokenizer, &sequence);
                assert!(text.contains("right"), "{train_on:?}: {text}");
                assert!(
                    !text.contains("wrong") && !text.contains("last"),
                    "{train_on:?}: {text}"
                );
                assert!(read.contains("wrong") && read.contains("last"), "{read}");
                let is_everything = train_on == TrainOn::Everything;
                assert_eq!(text.contains("three"), is_everything, "{text}");
                let preview = encoder.preview(&stored(&row), &spec, None).unwrap();
                let shown: Vec<bool> = preview
                    .tokens
                    .iter()
                    .map(|token| token.is_trained)
                    .collect();
                assert_eq!(shown, sequence.loss_mask);
            }
        }
    }
    let template = ChatTemplate::new(CHATML, &tokenizer).unwrap();
    let encoder = encoder(&tokenizer, &template);
    let row = conversation(vec![Message::new("user", "one"), context("wrong")], 0);
    let nothing = encoder.encode(&row, &spec(999));
    assert_eq!(nothing, Err(EncodeError::EmptyTarget));
}

/// KTO's `"label": false`: the row is left out, and its preview shows nothing learned.
#[test]
fn rows_with_a_bad_answer_are_left_out() {
    let tokenizer = tiny_tokenizer();
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: None,
    };
    let marked = |row: usize, is_good: bool| {
        let mut stored = stored(&pair(row, "Greet.", " Welcome."));
        stored.facts.is_good = Some(is_good);
        stored
    };
    let spec = DataSpec {
        validation_split: 0.0,
        train_on: TrainOn::Everything,
        ..spec(99)
    };
    let preview = |stored: &StoredRow| encoder.preview(stored, &spec, None).unwrap().tokens;
    assert!(
        preview(&marked(0, true))
            .iter()
            .any(|token| token.is_trained)
    );
    assert!(
        !preview(&marked(1, false))
            .iter()
            .any(|token| token.is_trained)
    );
    let mut preparation = Preparation::new(encoder, &spec, &[]);
    for row in 0..6 {
        preparation.add(&marked(row, row % 2 == 0));
    }
    let prepared = preparation.finish().unwrap();
    let rows: Vec<usize> = prepared.train.iter().map(|sequence| sequence.row).collect();
    assert_eq!((rows, prepared.summary.num_left_out), (vec![0, 2, 4], 3));
    let mut preparation = Preparation::new(encoder, &spec, &[]);
    preparation.add(&marked(0, false));
    let failure = preparation.finish().unwrap_err();
    assert!(failure.remedy.unwrap().contains("marked as bad"));
}

/// Templates that rewrite what came before, or that say nothing of the assistant.
#[test]
fn turns_are_found_in_templates_that_rewrite() {
    let tokenizer = tiny_tokenizer();
    let messages = [
        Message::new("user", "one"),
        Message::new("assistant", " two "),
        Message::new("user", "three"),
        Message::new("assistant", "four"),
    ];
    let learned_of = |source: &str, first_trained: usize| {
        let template = ChatTemplate::new(source, &tokenizer).unwrap();
        let encoder = encoder(&tokenizer, &template);
        let row = conversation(messages.to_vec(), first_trained);
        let (sequence, _) = encoder.encode(&row, &spec(999))?;
        Ok::<_, EncodeError>(learned(&tokenizer, &sequence).0)
    };
    let rewriting = "{{ messages|length }}{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}{{ eos_token }}\
        {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    assert_eq!(
        learned_of(rewriting, 0).unwrap(),
        "two<|im_end|>four<|im_end|>"
    );
    // What ends a text may come only after the last turn.
    let ending = "{{ messages|length }}{% for m in messages %}<{{ m.role }}>{{ m.content }}<|im_end|>{% endfor %}\
        {% if add_generation_prompt %}<assistant>{% else %}<|endoftext|>{% endif %}";
    assert_eq!(
        learned_of(ending, 0).unwrap(),
        " two <|im_end|>four<|im_end|><|endoftext|>"
    );
    // Without a generation prompt the model has to write the header itself.
    let bare =
        "{{ messages|length }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}";
    assert_eq!(learned_of(bare, 2).unwrap().trim(), "assistant: four");
    for hiding in [
        "{{ messages|length }}{% for m in messages %}{{ m.role }}{% endfor %}",
        "{% for m in messages %}{{ m.role }}{% endfor %}",
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
    ] {
        let error = learned_of(hiding, 0).unwrap_err();
        assert!(
            matches!(
                error,
                EncodeError::Turn(
                    TurnError::NotFound { message: 2 } | TurnError::NotWritten { message: 2 }
                )
            ),
            "{error:?}"
        );
    }
}

#[test]
fn datasets_are_split_and_counted() {
    let tokenizer = tiny_tokenizer();
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: None,
    };
    let spec = DataSpec {
        max_seq_length: 24,
        validation_split: 0.2,
        seed: 3,
        ..DataSpec::default()
    };
    let prepare = |rows: &[Row], spec: &DataSpec| {
        let mut preparation = Preparation::new(
            encoder,
            spec,
            &[FileSummary {
                name: "rows.jsonl".to_owned(),
                ..FileSummary::default()
            }],
        );
        rows.iter().for_each(|row| preparation.add(&stored(row)));
        preparation.finish()
    };
    let mut rows: Vec<Row> = (0..50)
        .map(|row| pair(row, &format!("question {row}"), "answer"))
        .collect();
    rows[4] = pair(4, "long ".repeat(40).as_str(), "lost");
    rows[5] = pair(5, "q", "");
    rows[6] = pair(6, "q", "long ".repeat(40).as_str());
    let prepared = prepare(&rows, &spec).unwrap();
    let summary = &prepared.summary;
    assert_eq!(
        (summary.num_training_rows, summary.num_validation_rows),
        (38, 10)
    );
    assert_eq!((summary.num_without_target, summary.num_truncated), (2, 1));
    let refused: Vec<usize> = summary.problems.iter().map(|problem| problem.row).collect();
    assert_eq!(refused, [4, 5]);
    assert_eq!(summary.longest_tokens, 24);
    let held_out = prepared.held_out_rows();
    assert!(
        held_out.is_sorted()
            && held_out
                .iter()
                .all(|&row| prepared.side(row) == Some(Side::Validation))
    );
    assert!(
        prepared
            .train
            .iter()
            .all(|row| prepared.side(row.row) == Some(Side::Train))
    );
    assert_eq!(prepared, prepare(&rows, &spec).unwrap());
    let reseeded = prepare(
        &rows,
        &DataSpec {
            seed: 4,
            ..spec.clone()
        },
    )
    .unwrap();
    assert_ne!(reseeded.held_out_rows(), held_out);
    assert_eq!(prepared.summary.num_leaked, 0);
    let same: Vec<Row> = (0..10).map(|row| pair(row, "q", "a")).collect();
    assert_eq!(prepare(&same, &spec).unwrap().summary.num_leaked, 2);
    assert!(prepare(&rows[5..6], &spec).is_err());
}

/// Whatever is said, exactly what the assistant says and the ends of its turns are learned.
#[test]
fn only_the_assistant_is_learned() {
    let tokenizer = tiny_tokenizer();
    let template = ChatTemplate::new(CHATML, &tokenizer).unwrap();
    let encoder = encoder(&tokenizer, &template);
    let turn = (any::<bool>(), "[ -;=-{a-zé🙂\n]{0,12}");
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    };
    proptest!(config, |(turns in proptest::collection::vec(turn, 1..6))| {
        let messages: Vec<Message> = turns
            .iter()
            .map(|(is_user, text)| Message::new(if *is_user { "user" } else { "assistant" }, text.as_str()))
            .collect();
        let said: String = messages
            .iter()
            .filter(|message| message.role == "assistant")
            .map(|message| message.content.clone() + "<|im_end|>\n")
            .collect();
        match encoder.encode(&conversation(messages, 0), &spec(usize::MAX)) {
            Ok((sequence, _)) => {
                let ids: Vec<u32> = sequence
                    .ids
                    .iter()
                    .zip(&sequence.loss_mask)
                    .filter_map(|(&id, &is_learned)| is_learned.then_some(id))
                    .collect();
                // Tokens may join the content's first characters to the line break before it.
                let text = tokenizer.decode(&ids, false).unwrap();
                prop_assert_eq!(text.replace('\n', ""), said.replace('\n', ""));
            }
            Err(error) => prop_assert_eq!(error, EncodeError::EmptyTarget),
        }
    });
}

/// The page's own sample: every row is sound, new, and short enough for a quick run.
#[test]
fn the_sample_is_sound() {
    #[derive(Deserialize)]
    struct Pair {
        prompt: String,
        completion: String,
    }
    let sample = include_str!("../../../app/assets/samples/manner.jsonl");
    let rows: Vec<Pair> = sample
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let prompts: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row.prompt.as_str()).collect();
    assert_eq!((rows.len(), prompts.len()), (60, 60));
    for Pair { completion, .. } in &rows {
        assert!(
            completion.ends_with(" — Wick, at the light."),
            "{completion}"
        );
        assert!(
            (40..120).contains(&completion.chars().count()),
            "{completion}"
        );
    }
    let Some((tokenizer, model)) = model_tokenizer("the_sample_is_sound") else {
        return;
    };
    let template = ChatTemplate::new(&model.chat_template.unwrap(), &tokenizer).unwrap();
    let encoder = encoder(&tokenizer, &template);
    for (index, row) in rows.iter().enumerate() {
        let (sequence, num_cut) = encoder
            .encode(
                &pair(index, &row.prompt, &row.completion),
                &DataSpec {
                    max_seq_length: 128,
                    ..DataSpec::default()
                },
            )
            .unwrap();
        assert!(num_cut == 0 && (40..=80).contains(&sequence.ids.len()));
    }
}

#[test]
fn rows_are_left_out_by_what_was_found_and_lengths_are_counted() {
    let tokenizer = tiny_tokenizer();
    let encoder = Encoder {
        tokenizer: &tokenizer,
        template: None,
    };
    let spec = DataSpec {
        max_seq_length: 16,
        leave_out: vec![FindingKind::Duplicate, FindingKind::Secret],
        ..DataSpec::default()
    };
    let mut preparation = Preparation::new(
        encoder,
        &spec,
        &[FileSummary {
            name: "rows.jsonl".to_owned(),
            ..FileSummary::default()
        }],
    );
    let kinds = [
        vec![],
        vec![FindingKind::Duplicate],
        vec![FindingKind::Email],
        vec![FindingKind::Email, FindingKind::Secret],
    ];
    for row in 0..40 {
        let long = "long ".repeat(row * 3);
        let mut stored = stored(&pair(row, "q", &long.clone().replacen("", "a", 1)));
        stored.facts.findings = kinds[row % 4].clone();
        preparation.add(&stored);
    }
    let prepared = preparation.finish().unwrap();
    let summary = &prepared.summary;
    assert_eq!(summary.num_left_out, 20);
    assert_eq!(summary.num_training_rows + summary.num_validation_rows, 20);
    assert!(prepared.train.iter().all(|sequence| sequence.row % 2 == 0));
    let lengths = &summary.lengths;
    assert_eq!(lengths.counts.iter().sum::<usize>(), 20);
    assert!(lengths.bin_tokens.is_power_of_two());
    // What is cut off lies in the bins after the cut.
    let after: usize = lengths
        .counts
        .iter()
        .skip(16 / lengths.bin_tokens + 1)
        .sum();
    assert!(after > 0 && after <= summary.num_truncated, "{summary:?}");
}
