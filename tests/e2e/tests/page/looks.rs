//! What the page looks like before anything is loaded: narrow and wide, light and dark, and every control named.

use e2e::browser::Window;
use e2e::page::Role;

use crate::visit::{Outcome, Visit, picture};

#[test]
fn it_fits_narrow_and_wide_light_and_dark() -> Outcome {
    let Some(visit) = Visit::start("looks", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    for (width, height) in [(360, 740), (640, 500), (1280, 1000), (1920, 1080)] {
        for is_dark in [false, true] {
            visit.browser.set_window(Window {
                width,
                height,
                is_dark,
            })?;
            let scheme = if is_dark { "dark" } else { "light" };
            picture(&page, &format!("looks-{width}-{scheme}"))?;
            assert!(
                page.sideways_scroll_px()? <= 0,
                "{width} px wide, the page scrolls sideways"
            );
        }
    }
    page.expect_quiet_console()?;
    Ok(())
}

#[test]
fn every_control_has_a_name() -> Outcome {
    let Some(visit) = Visit::start("names", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    for role in [Role::Button, Role::FileInput, Role::Field, Role::Status] {
        for (element, name) in page.names(role)? {
            let is_shown = visit.browser.session.text_of(&element, "displayed")? == "true";
            let what = visit
                .browser
                .session
                .text_of(&element, "property/outerHTML")?;
            assert!(
                !is_shown || !name.trim().is_empty(),
                "a control without a name: {what}"
            );
        }
    }
    for (role, names) in [
        (Role::FileInput, ["Dataset files", "Model files"].as_slice()),
        (
            Role::Button,
            &[
                "Use the bundled model",
                "Load sample dataset",
                "Start training",
                "Generate",
                "Download adapter",
            ],
        ),
        (
            Role::Field,
            &[
                "Rank",
                "Alpha",
                "Dropout",
                "Learning rate",
                "Epochs",
                "Max steps",
                "Batch size",
            ],
        ),
        (
            Role::Field,
            &[
                "Gradient accumulation",
                "Sequence length",
                "Validation split",
                "Seed",
                "Target modules",
            ],
        ),
        (Role::Field, &["Device", "Prompt", "Max new tokens"]),
        (
            Role::Named,
            &[
                "Base output",
                "Tuned output",
                "Training loss",
                "Validation loss",
                "Base validation loss",
            ],
        ),
        (Role::Named, &["Tokens per second"]),
        (Role::Status, &["Run status"]),
    ] {
        for name in names {
            page.by_name(role, name)?;
        }
    }
    Ok(())
}
