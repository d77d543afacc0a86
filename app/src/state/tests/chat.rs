use protocol::*;

use super::events::{loaded, model};
use crate::state::State;
use crate::state::form::Form;

pub(super) fn adapters(ids: &[u64], active: u64) -> Event {
    let adapter = |&id: &u64| AdapterSummary {
        id: AdapterId(id),
        name: format!("Adapter {id}"),
        origin: AdapterOrigin::File,
        spec: AdapterSpec::default(),
        trainable_parameters: 1,
        exports: Vec::new(),
        scored_on: Vec::new(),
        merge_refusal: None,
        blend_refusal: None,
    };
    Event::Adapters {
        list: AdapterList {
            adapters: ids.iter().map(adapter).collect(),
            active: Some(AdapterId(active)),
        },
    }
}

fn speakers(state: &State) -> Vec<Speaker> {
    let speakers = state.speakers().into_iter();
    speakers.map(|(speaker, _)| speaker).collect()
}

fn say(state: &mut State, id: u64, speaker: Speaker, text: &str) {
    let id = GenerationId(id);
    let text = text.to_owned();
    state.apply(Event::GenerationText { id, speaker, text });
    let summary = GenerationSummary {
        prompt_tokens: 3,
        new_tokens: 2,
        context_length: 64,
        elapsed_millis: 1.0,
        stop_reason: StopReason::EndOfTurn,
    };
    state.apply(Event::GenerationDone {
        id,
        speaker,
        summary,
    });
}

/// Roles and contents of what a model is to go on with.
fn next(state: &State, typed: &str, speaker: Speaker) -> Vec<(String, String)> {
    next_after(state, typed, speaker, &Preamble::default())
}

fn next_after(
    state: &State,
    typed: &str,
    speaker: Speaker,
    preamble: &Preamble,
) -> Vec<(String, String)> {
    let conversations = state.next_conversations(typed, preamble).unwrap();
    let conversation = conversations.into_iter().find(|all| all.speaker == speaker);
    let messages = conversation.unwrap().messages.into_iter();
    messages
        .map(|message| (message.role, message.content))
        .collect()
}

fn written(messages: &[(&str, &str)]) -> Vec<(String, String)> {
    let messages = messages.iter();
    messages
        .map(|(role, text)| ((*role).to_owned(), (*text).to_owned()))
        .collect()
}

const BASE: Speaker = Speaker::Base;
const FIRST: Speaker = Speaker::Adapter(AdapterId(1));
const SECOND: Speaker = Speaker::Adapter(AdapterId(2));

#[test]
fn each_model_goes_on_with_its_own_answers() {
    let mut state = loaded();
    state.apply(adapters(&[1], 1));
    state.begin_turn(GenerationId(1), "Who are you?");
    assert_eq!(state.chat.turns[0].speaking(), Some(BASE));
    say(&mut state, 1, BASE, "A model.");
    assert_eq!(state.chat.turns[0].speaking(), Some(FIRST));
    assert!(state.chat.is_active());
    say(&mut state, 1, FIRST, "A cook.");
    assert!(!state.chat.is_active());

    let preamble = Preamble {
        system_prompt: "Be brief.".to_owned(),
        tools: vec!["{}".to_owned()],
    };
    assert_eq!(
        next_after(&state, "Since when?", BASE, &preamble),
        written(&[
            ("system", "Be brief."),
            ("user", "Who are you?"),
            ("assistant", "A model."),
            ("user", "Since when?"),
        ])
    );
    assert_eq!(
        next(&state, "Since when?", FIRST),
        written(&[
            ("user", "Who are you?"),
            ("assistant", "A cook."),
            ("user", "Since when?"),
        ])
    );
    let conversations = state.next_conversations("Since when?", &preamble).unwrap();
    assert!(conversations.iter().all(|asked| asked.tools == ["{}"]));
}

#[test]
fn nothing_typed_or_the_same_again_asks_the_last_turn_once_more() {
    let mut state = loaded();
    assert_eq!(state.next_conversations("  ", &Preamble::default()), None);
    state.begin_turn(GenerationId(1), "One");
    say(&mut state, 1, BASE, "1");
    state.begin_turn(GenerationId(2), "Two");
    say(&mut state, 2, BASE, "2");
    for typed in ["", " \n", "Two"] {
        let expected = written(&[("user", "One"), ("assistant", "1"), ("user", "Two")]);
        assert_eq!(next(&state, typed, BASE), expected, "{typed:?}");
    }
    state.begin_turn(GenerationId(3), "");
    let prompts: Vec<&str> = state
        .chat
        .turns
        .iter()
        .map(|turn| turn.prompt.as_str())
        .collect();
    assert_eq!(prompts, ["One", "Two"]);
    assert_eq!(state.chat.turns[1].answers[0].text, "");
    say(
        &mut state,
        2,
        BASE,
        "late words of the turn that was replaced",
    );
    assert_eq!(state.chat.turns[1].answers[0].text, "");
}

#[test]
fn a_model_that_joins_later_begins_with_the_present_turn() {
    let mut state = loaded();
    state.apply(adapters(&[1, 2], 1));
    state.begin_turn(GenerationId(1), "One");
    say(&mut state, 1, BASE, "1");
    say(&mut state, 1, FIRST, "uno");
    state.chat.toggle_compared(AdapterId(2));
    assert_eq!(speakers(&state), [BASE, FIRST, SECOND]);
    assert_eq!(next(&state, "Two", SECOND), written(&[("user", "Two")]));
    state.begin_turn(GenerationId(2), "Two");
    say(&mut state, 2, BASE, "2");
    say(&mut state, 2, FIRST, "");
    say(&mut state, 2, SECOND, "due");
    assert_eq!(
        next(&state, "Three", SECOND),
        written(&[("user", "Two"), ("assistant", "due"), ("user", "Three")])
    );
    // An empty answer would leave two turns of the user in a row.
    assert_eq!(
        next(&state, "Three", FIRST),
        written(&[("user", "One"), ("assistant", "uno"), ("user", "Three")])
    );
    state.chat.toggle_compared(AdapterId(2));
    assert_eq!(speakers(&state), [BASE, FIRST]);
}

#[test]
fn the_tuned_model_and_forgotten_adapters_are_not_compared() {
    let mut state = loaded();
    state.apply(adapters(&[1, 2], 1));
    state.chat.toggle_compared(AdapterId(1));
    state.chat.toggle_compared(AdapterId(2));
    assert_eq!(speakers(&state), [BASE, FIRST, SECOND]);
    state.apply(adapters(&[1, 2], 2));
    assert_eq!(speakers(&state), [BASE, SECOND, FIRST]);
    state.apply(adapters(&[2], 2));
    assert_eq!(speakers(&state), [BASE, SECOND]);
}

#[test]
fn a_turn_can_be_taken_back_and_the_chat_begun_again() {
    let mut state = loaded();
    state.begin_turn(GenerationId(1), "One");
    say(&mut state, 1, BASE, "1");
    state.begin_turn(GenerationId(2), "Two");
    assert_eq!(state.chat.take_back().as_deref(), Some("Two"));
    assert_eq!(state.chat.turns.len(), 1);
    state.chat.clear();
    assert_eq!(next(&state, "Three", BASE), written(&[("user", "Three")]));
    assert_eq!(state.chat.take_back(), None);
}

#[test]
fn the_chat_outlives_the_engine_but_not_the_model() {
    let mut state = loaded();
    state.begin_turn(GenerationId(1), "One");
    state.forget_worker();
    assert!(!state.chat.is_active(), "no answer will come");
    state.begin_model_again("A model");
    state.apply(Event::ModelLoaded { model: model("m") });
    assert_eq!(state.chat.turns.len(), 1);
    state.begin_model("Another model");
    state.apply(Event::ModelLoaded { model: model("n") });
    assert!(state.chat.turns.is_empty());
}

#[test]
fn a_chat_begins_as_the_rows_do_unless_the_user_says_otherwise() {
    let preamble = |text: &str| Preamble {
        system_prompt: text.to_owned(),
        tools: vec!["{}".to_owned()],
    };
    let mut form = Form::default();
    form.suggest(preamble("Be brief."), true);
    assert!(form.has_system_prompt_of_data());
    assert_eq!(
        (form.system_prompt.as_str(), form.as_text),
        ("Be brief.", true)
    );
    assert_eq!(form.preamble(true), Preamble::default());
    form.suggest(preamble("Be kind."), false);
    assert_eq!(
        (form.system_prompt.as_str(), form.as_text),
        ("Be kind.", false)
    );
    assert_eq!(form.preamble(false), preamble("Be kind."));
    form.offers_tools = false;
    assert!(form.preamble(false).tools.is_empty());

    form.system_prompt = "Be yourself.".to_owned();
    form.as_text = true;
    form.suggest(preamble("Be brief."), false);
    assert!(!form.has_system_prompt_of_data());
    assert_eq!(
        (form.system_prompt.as_str(), form.as_text),
        ("Be yourself.", true)
    );
}
