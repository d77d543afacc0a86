use protocol::{
    AdapterId, Event, FailureKind, FindingKind, LrSchedulerType, Method, Recipe, RecipeAdapter,
    RunSpec,
};

use super::events::{dataset, loaded, model};
use crate::state::form::{Field, Form};
use crate::state::recipe::{DroppedRecipe, parse};
use crate::state::{State, Step};

fn recipe() -> Recipe {
    parse(include_bytes!(
        "../../../../tests/fixtures/export/recipe.json"
    ))
    .unwrap()
}

fn with(mut state: State, recipe: Recipe) -> State {
    let file = "recipe.json".to_owned();
    state.recipe = Some(DroppedRecipe { file, recipe });
    state
}

fn remarks(state: &State) -> Vec<String> {
    state.shown_intake().unwrap().remarks
}

#[test]
fn a_recipe_fills_the_form() {
    let recipe = recipe();
    let mut form = Form::default();
    form.settings.run.initial_adapter = Some(AdapterId(1));
    form.settings.run.packing = true;
    form.set(Field::named("learning_rate"), "fast");
    form.take(&recipe.settings);
    assert_eq!(form.text(Field::named("r")), "4");
    assert_eq!(form.text(Field::named("target_modules")), "q_proj, up_proj");
    assert_eq!(form.settings.run.lr_scheduler_type, LrSchedulerType::Linear);
    assert_eq!(form.run_spec().as_ref(), Ok(&recipe.settings));
}

#[test]
fn a_byte_order_mark_does_not_hide_a_recipe() {
    let plain = include_str!("../../../../tests/fixtures/export/recipe.json");
    let marked = format!("\u{feff}{plain}");
    assert_eq!(parse(marked.as_bytes()).unwrap(), recipe());
}

/// Whatever the form says is in its recipe, and comes back from it.
#[test]
fn the_form_of_any_run_comes_back_from_its_recipe() {
    let mut first = Form::default();
    first.choose(Field::named("method"), Method::LoraPlus as usize);
    first.set(Field::named("rank_pattern"), "q_proj=16, up_proj=4");
    first.set(Field::named("alpha_pattern"), "q_proj=2.5");
    first.set(Field::named("layers_to_transform"), "0-1");
    first.set(Field::named("learning_rate"), "1e-7");
    first.set(Field::named("seed"), "9007199254740991");
    first.settings.run.adapter.train_norms = true;
    first.settings.run.packing = true;
    first.settings.run.data.leave_out = vec![FindingKind::Secret];
    let spec = first.run_spec().unwrap();
    let made = Recipe::new(&model("m"), &dataset(), &spec, protocol::DeviceKind::Cpu);
    let read = parse(serde_json::to_string(&made).unwrap().as_bytes()).unwrap();
    assert_eq!(read, made);
    let mut second = Form::default();
    second.take(&read.settings);
    assert_eq!(second.run_spec(), Ok(spec));
}

#[test]
fn what_of_model_and_data_differs_is_told_until_it_does_not() {
    let state = with(State::default(), recipe());
    let shown = state.shown_intake().unwrap();
    assert_eq!(shown.taken, [(Step::Train, "recipe.json".to_owned())]);
    assert_eq!(
        shown.remarks,
        [
            "The recipe was made with the model SmolLM2-135M-Instruct (Q4_1), which is not loaded.",
            "The recipe was made with the dataset manner.jsonl (60 rows), which is not loaded.",
        ]
    );
    let told = remarks(&with(loaded(), recipe()));
    assert!(told[0].ends_with("the one that is loaded differs from it."));
    assert!(told[1].ends_with("the one that is loaded differs from it."));
    assert_eq!(told.len(), 2);
    // The same files.
    let mut same = recipe();
    same.model.sha256 = "m".into();
    same.dataset.sha256 = dataset().sha256;
    let mut state = with(loaded(), same);
    assert_eq!(remarks(&state), Vec::<String>::new());
    state.begin_model("Another model");
    assert_eq!(remarks(&state), Vec::<String>::new(), "not known yet");
    state.apply(Event::ModelLoaded { model: model("n") });
    assert_eq!(remarks(&state).len(), 1);
    state.begin_run(protocol::RunId(1), RunSpec::default());
    assert_eq!(state.shown_intake(), None);
}

#[test]
fn what_the_page_cannot_do_of_a_recipe_is_told() {
    let mut recipe = recipe();
    recipe.model.sha256 = "m".into();
    recipe.dataset.sha256 = dataset().sha256;
    recipe.dataset.reading.group_by = Some("id".into());
    recipe.settings.data.seed = 8;
    recipe.initial_adapter = Some(RecipeAdapter {
        name: "Run 1: LoRA".into(),
        sha256: String::new(),
    });
    let told = remarks(&with(loaded(), recipe.clone()));
    assert!(told[0].contains("read the same files in another way"));
    assert!(told[1].contains("continued the adapter Run 1: LoRA"));
    assert!(told[2].contains("with the seed 8"));
    // Its seed cannot be seen, and so is in nobody's way.
    recipe.settings.data.seed = u64::MAX;
    let mut form = Form::default();
    form.take(&recipe.settings);
    assert_eq!(form.run_spec().unwrap().data.seed, 7);
}

#[test]
fn what_a_recipe_says_of_rows_outlives_their_loading() {
    let mut run = recipe().settings;
    run.data.leave_out = vec![FindingKind::Secret];
    let mut form = Form::default();
    form.toggle_left_out(FindingKind::Duplicate);
    form.begin_rows(Some(&run));
    assert_eq!(form.settings.run.data.leave_out, [FindingKind::Secret]);
    form.begin_rows(None);
    assert!(form.settings.run.data.leave_out.is_empty());
}

#[test]
fn what_is_no_recipe_is_refused() {
    let failure = parse(b"{\"format\": \"inlay-recipe\", \"version\": 2}").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Settings);
    assert!(failure.what.contains("version 2"), "{}", failure.what);
    assert!(parse(b"{\"format\": \"inlay-recipe\"}").is_err());
}
