//! Modelfiles of the stock chat templates. `tests/reference/modelfile.go` reads them with Ollama's own parser and engine, where
//! `INLAY_MODELFILES` names a folder to write them to.

use std::{collections::BTreeSet, path::PathBuf};

use engine::export::modelfile::{bos_and_stops, of_model};
use protocol::Message;
use serde_json::json;

use crate::{golden::golden, masks::Masks};

/// Templates that do not write messages independently in sequence: what ends a conversation, or an answer's reasoning,
/// depends on their position.
const WITHOUT_FORM: [&str; 4] = ["phi3", "phi3_5", "phi4_mini", "qwen3_training"];
/// Templates that take no system message, or write it inside a user's.
const WITHOUT_SYSTEM: [&str; 4] = ["gemma", "gemma3", "mistral_nemo", "mistral_v0_2"];

fn conversations() -> Vec<Vec<(&'static str, &'static str)>> {
    let turns = [
        ("user", "What is 2 + 2?"),
        ("assistant", "4 {{ .Content }}"),
        ("user", "\"And\" 3?\n\n{% raw %} \u{e9}"),
        ("assistant", "It's 6 < 7."),
        ("user", "Thanks"),
    ];
    let system = ("system", "Be brief, & exact.");
    let of = |count: usize| turns[..count].to_vec();
    let under = |count: usize| [&[system], &turns[..count]].concat();
    vec![of(1), of(3), of(5), under(1), under(5)]
}

#[test]
fn modelfiles_of_stock_templates_have_base_template_and_stops() {
    let masks: Masks = golden("masks.json.gz");
    let (mut without_form, mut without_system) = (BTreeSet::new(), BTreeSet::new());
    for family in &masks.families {
        let tokenizer = family.tokenizer();
        let template = family.template(&tokenizer);
        let (bos, stops) = bos_and_stops(&tokenizer);
        let bos = bos.as_deref();
        let file = of_model("model.gguf", Some(&template), bos, &stops);
        assert!(file.contains("\nFROM ./model.gguf\n"), "{file}");
        assert!(!stops.is_empty(), "{}", family.name);
        // Its first token is the template's own, though it is the tokenizer's `bos_token`, which nothing adds.
        let opens =
            file.contains(r#""<|im_start|>system\nYou are a helpful AI assistant named SmolLM"#);
        assert_eq!(opens, family.name == "smollm2", "{file}");
        let has_template = file.contains("TEMPLATE");
        if !has_template {
            without_form.insert(family.name.as_str());
        }
        let takes_system = !file.contains("System messages are left out");
        if !takes_system {
            without_system.insert(family.name.as_str());
        }
        let conversations = conversations().into_iter();
        let conversations =
            conversations.filter(|messages| takes_system || messages[0].0 != "system");
        let told = conversations.map(|conversation| {
            let messages = conversation.iter();
            let messages: Vec<Message> = messages
                .map(|(role, content)| Message::new(*role, *content))
                .collect();
            let text = template.render(&messages, &[], true).unwrap();
            let messages = conversation.iter();
            let messages =
                messages.map(|(role, content)| json!({"role": role, "content": content}));
            let text = text.strip_prefix(bos.unwrap_or_default()).unwrap_or(&text);
            json!({"messages": messages.collect::<Vec<_>>(), "text": text})
        });
        let told = json!({
            "from": "./model.gguf",
            "stops": stops,
            "has_template": has_template,
            "conversations": told.collect::<Vec<_>>(),
        });
        println!(
            "{:<16} {}",
            family.name,
            if has_template { "a template" } else { "none" }
        );
        let Some(folder) = std::env::var_os("INLAY_MODELFILES") else {
            continue;
        };
        let folder = PathBuf::from(folder).join(&family.name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("Modelfile"), file).unwrap();
        std::fs::write(folder.join("told.json"), told.to_string()).unwrap();
    }
    assert_eq!(without_form, BTreeSet::from(WITHOUT_FORM));
    assert_eq!(without_system, BTreeSet::from(WITHOUT_SYSTEM));
}
