//! Try as a chat: turns follow on for every model by itself, and what the models read can be looked at.

use e2e::axe;
use e2e::browser::Window;
use e2e::page::{Page, Role, Seen};

use crate::accessible::look;
use crate::visit::{
    LOADING, Outcome, SOON, Visit, adapter, picture, tiny_model, wait_for_adapters,
};

/// The tiny model with a chat template next to it, and two adapters.
fn prepare(visit: &Visit, page: &Page) -> Outcome {
    let template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}[assistant]{% endif %}";
    let mut files = tiny_model()?;
    files.push(visit.write("chat_template.jinja", template)?);
    page.choose_files("Model files", &files)?;
    page.wait_for_text("SHA-256", LOADING)?;
    for case in ["lora.all_linear", "lora.regex"] {
        page.choose_files("Adapter files", &adapter(case)?)?;
    }
    wait_for_adapters(page, 2)
}

fn ask(page: &Page, prompt: &str) -> Outcome {
    page.fill("Prompt", prompt)?;
    page.wait_until_enabled("Generate", SOON)?;
    page.press("Generate")?;
    over(page)
}

fn over(page: &Page) -> Outcome {
    page.wait("the answers' end", LOADING, || {
        let body = page.body_text()?;
        Ok(
            match page.is_enabled("Generate")? && body.contains("context tokens used") {
                true => Seen::Yes(()),
                false => Seen::NotYet(body),
            },
        )
    })?;
    Ok(())
}

#[test]
fn turns_follow_on_for_each_model() -> Outcome {
    let Some(visit) = Visit::start("chat", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    prepare(&visit, &page)?;
    page.fill("Max new tokens", "8")?;
    page.fill("System prompt", "be brief")?;
    let first = "adapter_model.safetensors";
    page.tick(&format!("Compare {first}"))?;
    ask(&page, "the first")?;
    let third = format!("Output of {first}");
    let outputs = ["Base output", "Tuned output", third.as_str()];
    let mut earlier = Vec::new();
    for name in outputs {
        earlier.push(page.text(name)?);
    }
    assert_eq!(page.value("Prompt")?, "", "the next turn can be written");

    ask(&page, "and then")?;
    let log = page.text("Earlier turns")?;
    assert!(log.contains("the first"), "{log}");
    for answer in &earlier {
        assert!(log.contains(answer.trim()), "'{answer}' in {log}");
    }
    let second = page.text("Base output")?;

    // The prompt that is shown holds the whole chat, as the template writes it.
    page.press("The prompt as the model reads it")?;
    let prompt = page.wait("the prompt", SOON, || {
        let prompt = page.text("Prompt of the base")?;
        Ok(match prompt.contains("then") {
            true => Seen::Yes(prompt),
            false => Seen::NotYet(prompt),
        })
    })?;
    let prompt = prompt.replace(['\n', '\u{21b5}', ' '], "");
    for part in [
        "[system]bebrief",
        "[user]thefirst",
        "[user]andthen",
        "[assistant]",
    ] {
        assert!(prompt.contains(part), "{part} in {prompt}");
    }
    page.by_name(Role::Named, &format!("Prompt of {first}"))?;
    picture(&page, "chat-two-turns")?;
    if axe::script_file().exists() {
        look(&visit, &page, "chat")?;
    }

    // From the same seed the same answer.
    page.press("Regenerate")?;
    over(&page)?;
    assert_eq!(page.text("Base output")?, second);
    page.press("Edit last prompt")?;
    assert_eq!(page.value("Prompt")?, "and then");
    assert_eq!(page.text("Base output")?, earlier[0]);

    page.press("New chat")?;
    page.wait("an empty chat", SOON, || {
        let base = page.text("Base output")?;
        Ok(match base.is_empty() {
            true => Seen::Yes(()),
            false => Seen::NotYet(base),
        })
    })?;

    // The tiny model reads 128 tokens; what is longer is refused, and says what to do.
    page.fill("Prompt", &"the and ".repeat(90))?;
    page.press("Generate")?;
    page.wait_for_text("leaves no room for an answer", SOON)?;
    page.wait_for_text("Start a new chat", SOON)?;
    picture(&page, "chat-full")?;
    page.expect_quiet_console()?;
    Ok(())
}
