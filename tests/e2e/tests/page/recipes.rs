//! A recipe fills the form, says what of its model and data is not here, and is repeated by the run that follows.

use e2e::browser::Window;
use serde_json::Value;

use crate::visit::{
    LOADING, Outcome, RUN, SOON, Visit, file, fixture, load, picture, questions, seed, unzipped,
    wait_for,
};

#[test]
fn a_recipe_is_repeated() -> Outcome {
    let Some(visit) = Visit::start("recipes", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let recipe = fixture("export/recipe.json")?;
    page.choose_files("Dataset files", &[&recipe])?;
    wait_for(
        &page,
        "What was taken",
        &[
            "Settings: recipe.json",
            "the model SmolLM2-135M-Instruct (Q4_1), which is not loaded",
            "the dataset manner.jsonl (60 rows), which is not loaded",
        ],
    )?;
    page.unfold()?;
    for (field, text) in [
        ("Rank", "4"),
        ("Alpha", "12"),
        ("Dropout", "0.05"),
        ("Target modules", "q_proj, up_proj"),
        ("Learning rate", "0.0005"),
        ("Epochs", "2"),
        ("Max steps", "3"),
        ("Weight decay", "0.01"),
        ("Adam beta 2", "0.98"),
        ("Sequence length", "96"),
        ("Validation split", "0.2"),
    ] {
        assert_eq!(page.value(field)?, text, "{field}");
    }
    picture(&page, "recipe-1-dropped")?;

    // Its model is here now, and other rows.
    let dataset = visit.write("questions.jsonl", questions(20, seed()))?;
    load(&page, &dataset)?;
    wait_for(
        &page,
        "What was taken",
        &["the dataset manner.jsonl (60 rows); the one that is loaded differs from it"],
    )?;
    let told = page.text("What was taken")?;
    assert!(!told.contains("the model"), "{told}");
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    page.press("Download adapter")?;
    let files = unzipped(&visit.browser.downloaded(".zip", LOADING)?)?;
    let settings = |json: &[u8]| -> Result<Value, serde_json::Error> {
        Ok(serde_json::from_slice::<Value>(json)?["settings"].take())
    };
    let wanted = settings(&std::fs::read(&recipe)?)?;
    let done = settings(file(&files, "recipe.json")?)?;
    for (name, value) in wanted.as_object().ok_or("no settings")? {
        let is_same = match value.as_f64() {
            Some(number) => done[name].as_f64() == Some(number),
            None => done[name] == *value,
        };
        assert!(is_same, "{name}: {value} became {}", done[name]);
    }
    page.expect_quiet_console()?;
    Ok(())
}
