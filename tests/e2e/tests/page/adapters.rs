//! PEFT adapters are loaded, chosen, blended, trained further, and exported for every runtime; bad ones change nothing.

use std::collections::BTreeSet;

use e2e::browser::Window;
use e2e::page::{Page, Role, Seen};

use crate::visit::{
    LOADING, Outcome, RUN, SOON, Visit, adapter, adapters, file, fill, picture, questions, seed,
    tiny_model, unzipped,
};

const SETTINGS: [(&str, &str); 4] = [
    ("Max steps", "2"),
    ("Batch size", "2"),
    ("Sequence length", "64"),
    ("Validation split", "0.1"),
];

fn choose_adapter(page: &Page, case: &str) -> Outcome {
    Ok(page.choose_files("Adapter files", &adapter(case)?)?)
}

/// The names of the adapters in the list, and the one that is chosen.
fn listed(visit: &Visit, page: &Page) -> Result<(Vec<String>, String), Box<dyn std::error::Error>> {
    let fields = page.names(Role::Field)?;
    let (mut names, mut chosen) = (Vec::new(), String::new());
    for (element, label) in &fields {
        if let Some(name) = label.strip_prefix("Use ") {
            names.push(name.to_owned());
            if visit.browser.session.text_of(element, "property/checked")? == "true" {
                name.clone_into(&mut chosen);
            }
        }
    }
    Ok((names, chosen))
}

fn wait_for_list(visit: &Visit, page: &Page, names: &[&str], chosen: &str) -> Outcome {
    page.wait("the list of adapters", LOADING, || {
        let seen = listed(visit, page).map_err(|error| error.to_string());
        Ok(match seen {
            Ok(seen) if seen.0 == names && seen.1 == chosen => Seen::Yes(()),
            seen => Seen::NotYet(format!("{seen:?}")),
        })
    })?;
    Ok(())
}

fn answer(page: &Page) -> Result<(String, String), Box<dyn std::error::Error>> {
    page.wait_until_enabled("Generate", SOON)?;
    page.press("Generate")?;
    page.wait("both answers", LOADING, || {
        let (base, tuned) = (page.text("Base output")?, page.text("Tuned output")?);
        let is_there = page.is_enabled("Generate")? && !base.is_empty() && !tuned.is_empty();
        Ok(if is_there {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!("'{base}' and '{tuned}'"))
        })
    })?;
    Ok((page.text("Base output")?, page.text("Tuned output")?))
}

#[test]
fn adapters_come_in_are_blended_and_leave() -> Outcome {
    let Some(visit) = Visit::start("adapters", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    // Without its model an adapter is told to wait.
    choose_adapter(&page, "lora.all_linear")?;
    page.wait_for_text("No model is loaded", SOON)?;
    page.choose_files("Model files", &tiny_model()?)?;
    page.wait_for_status(&["Ready", "Idle"], LOADING)?;
    page.wait_for_text("SHA-256", LOADING)?;

    choose_adapter(&page, "lora.all_linear")?;
    let first = "adapter_model.safetensors";
    wait_for_list(&visit, &page, &[first], first)?;
    page.fill("Prompt", "the")?;
    page.fill("Max new tokens", "12")?;
    let (base, of_first) = answer(&page)?;
    assert_ne!(base, of_first);

    // One for another base is refused with its reasons; what was there stays.
    choose_adapter(&page, "dora")?;
    page.wait_for_text("does not fit the loaded model", SOON)?;
    page.wait_for_text("It was made for strangers/odd", SOON)?;
    picture(&page, "adapters-refused")?;
    page.press("Dismiss the message in Try")?;
    wait_for_list(&visit, &page, &[first], first)?;

    choose_adapter(&page, "lora.regex")?;
    let second = "adapter_model.safetensors (2)";
    wait_for_list(&visit, &page, &[first, second], second)?;
    page.fill(&format!("Weight of {first}"), "0,5")?;
    page.fill(&format!("Weight of {second}"), "much")?;
    page.wait_for_text("is not a valid weight for", SOON)?;
    assert!(!page.is_enabled("Blend adapters")?);
    page.fill(&format!("Weight of {second}"), "-1.5")?;
    page.wait_until_enabled("Blend adapters", SOON)?;
    page.press("Blend adapters")?;
    let blend = format!("0.5 \u{d7} {first} + -1.5 \u{d7} {second}");
    wait_for_list(&visit, &page, &[first, second, &blend], &blend)?;
    picture(&page, "adapters-blended")?;

    // Each is the tuned model in turn.
    page.tick(&format!("Use {first}"))?;
    wait_for_list(&visit, &page, &[first, second, &blend], first)?;
    assert_eq!(
        answer(&page)?.1,
        of_first,
        "the same adapter, the same answer"
    );
    page.tick(&format!("Use {blend}"))?;
    wait_for_list(&visit, &page, &[first, second, &blend], &blend)?;

    // It is exported in every form, and can be loaded again.
    let out = [
        (
            "Download adapter",
            "-lora.zip",
            vec!["adapter_config.json", "adapter_model.safetensors"],
        ),
        (
            "Download GGUF adapter",
            "-gguf.zip",
            vec!["README.md", "adapter.gguf"],
        ),
        (
            "Download MLX adapter",
            "-mlx.zip",
            vec!["adapter_config.json", "adapters.safetensors"],
        ),
    ];
    let mut zips = Vec::new();
    for (button, end, expected) in out {
        page.wait_until_enabled(button, SOON)?;
        page.press(button)?;
        let zip = visit.browser.downloaded(end, SOON)?;
        let files = unzipped(&zip)?;
        let names: BTreeSet<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, expected.into_iter().collect(), "{button}");
        zips.push((zip, files));
    }
    assert!(file(&zips[1].1, "adapter.gguf")?.starts_with(b"GGUF"));
    page.choose_files("Adapter files", &[&zips[0].0])?;
    let again = "inlay-tiny-lora.zip";
    let again = listed_end(&page, again)?;

    // A run continues it.
    let dataset = visit.write("questions.jsonl", questions(12, seed()))?;
    page.choose_files("Dataset files", &[&dataset])?;
    page.wait_for_status(&["Ready"], LOADING)?;
    fill(&page, &SETTINGS)?;
    page.choose("Start from", &again)?;
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    let run = "Run 1: LoRA";
    wait_for_list(&visit, &page, &[first, second, &blend, &again, run], run)?;
    page.press(&format!("Remove {second}"))?;
    wait_for_list(&visit, &page, &[first, &blend, &again, run], run)?;
    picture(&page, "adapters-gone-on")?;
    other_methods(&visit, &page)?;
    another_engine(&visit, &page)?;
    page.expect_quiet_console()?;
    Ok(())
}

/// An engine that takes over, as after a crash, has every adapter and gives the same answers.
fn another_engine(visit: &Visit, page: &Page) -> Outcome {
    let (names, chosen) = listed(visit, page)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let before = answer(page)?;
    page.choose("Device", "cpu")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    wait_for_list(visit, page, &names, &chosen)?;
    assert_eq!(answer(page)?, before);
    picture(page, "adapters-another-engine")?;
    Ok(())
}

/// A learned prompt, which has its own fields and only one export form; and a head trained along with a LoRA.
fn other_methods(visit: &Visit, page: &Page) -> Outcome {
    let run = |name: &str| -> Outcome {
        page.wait_until_enabled("Start training", SOON)?;
        page.press("Start training")?;
        page.wait_for_status(&["Finished"], RUN)?;
        page.wait_for_text(name, SOON)?;
        page.wait_until_enabled("Download adapter", SOON)?;
        assert!(!page.is_enabled("Download GGUF adapter")?, "{name}");
        page.press("Download adapter")?;
        Ok(())
    };
    let has_field = |name: &str| -> Result<bool, Box<dyn std::error::Error>> {
        let names = page.names(Role::Field)?;
        Ok(names.iter().any(|(_, label)| label == name))
    };
    page.unfold()?;
    page.choose("Start from", "new adapter")?;
    assert!(!has_field("Virtual tokens")? && has_field("Packing")? && has_field("Train head")?);
    page.choose("Method", "Prompt tuning")?;
    assert!(has_field("Virtual tokens")? && !has_field("Packing")? && !has_field("Train head")?);
    page.fill("Virtual tokens", "6")?;
    picture(page, "adapters-prompt")?;
    run("Run 2: Prompt tuning")?;
    let files = unzipped(&visit.browser.downloaded("-lora (1).zip", SOON)?)?;
    let config = String::from_utf8(file(&files, "adapter_config.json")?.to_vec())?;
    assert!(config.contains("PROMPT_TUNING") && config.contains("\"num_virtual_tokens\": 6"));
    let (base, tuned) = answer(page)?;
    assert_ne!(base, tuned);

    page.choose("Method", "LoRA")?;
    page.tick("Train head")?;
    run("Run 3: LoRA")?;
    let files = unzipped(&visit.browser.downloaded("-lora (2).zip", SOON)?)?;
    let config = String::from_utf8(file(&files, "adapter_config.json")?.to_vec())?;
    assert!(config.contains("lm_head"));
    Ok(())
}

/// Waits for an adapter whose name ends so; its name.
fn listed_end(page: &Page, end: &str) -> Result<String, Box<dyn std::error::Error>> {
    let mut found = String::new();
    page.wait(&format!("an adapter {end}"), LOADING, || {
        let names = adapters(page)?;
        Ok(
            match names
                .iter()
                .find(|name| name.contains(end) || name.contains(".zip"))
            {
                Some(name) => {
                    name.clone_into(&mut found);
                    Seen::Yes(())
                }
                None => Seen::NotYet(format!("{names:?}")),
            },
        )
    })?;
    Ok(found)
}
