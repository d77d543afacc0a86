use protocol::{AdapterSpec, LayerRange, Method, RunSpec, TargetModule};

use crate::state::form::{Field, Form};
use crate::state::format;

#[test]
fn the_first_form_is_the_default_run() {
    assert_eq!(Form::default().run_spec(), Ok(RunSpec::default()));
}

#[test]
fn numbers_are_read_as_people_write_them() {
    let mut form = Form::default();
    form.set(Field::named("learning_rate"), " 2e-3 ");
    form.set(Field::named("validation_split"), "12,5 %");
    form.set(Field::named("max_steps"), "");
    form.set(Field::named("seed"), "1_000");
    form.set(Field::named("num_train_epochs"), "1.5");
    form.set(Field::named("max_seq_length"), "1,024");
    form.set(Field::named("per_device_train_batch_size"), "2.0");
    let spec = form.run_spec().unwrap();
    assert_eq!(
        (
            spec.learning_rate,
            spec.data.validation_split,
            spec.max_steps
        ),
        (2e-3, 0.125, 0)
    );
    assert_eq!(
        (spec.seed, spec.data.seed, spec.num_train_epochs),
        (1000, 1000, 1.5)
    );
    assert_eq!(
        (spec.data.max_seq_length, spec.per_device_train_batch_size),
        (1024, 2)
    );
}

#[test]
fn the_default_length_fits_the_model() {
    let mut form = Form::default();
    form.fit_length(8192);
    assert_eq!(form.text(Field::named("max_seq_length")), "512");
    form.fit_length(64);
    assert_eq!(form.text(Field::named("max_seq_length")), "64");
    form.fit_length(8192);
    assert_eq!(form.text(Field::named("max_seq_length")), "512");
    // One that was chosen stays, and is refused where it is too long.
    form.set(Field::named("max_seq_length"), "256");
    form.fit_length(64);
    assert_eq!(form.text(Field::named("max_seq_length")), "256");
}

#[test]
fn what_cannot_be_read_is_named() {
    for (field, text) in [
        (Field::named("r"), "0"),
        (Field::named("r"), "eight"),
        (Field::named("r"), "8,5"),
        (Field::named("r"), ""),
        (Field::named("lora_alpha"), "-1"),
        (Field::named("learning_rate"), "NaN"),
        (Field::named("learning_rate"), "inf"),
        (Field::named("validation_split"), "95%"),
        (Field::named("target_modules"), "q_proj, lm_head"),
        (Field::named("target_modules"), " , "),
        (Field::named("layers_to_transform"), "9-3"),
        (Field::named("layers_to_transform"), "last"),
        (Field::named("rank_pattern"), "q_proj"),
        (Field::named("alpha_pattern"), "q_proj=many"),
        (Field::named("alpha_pattern"), "q_proj=inf"),
        (Field::named("rank_pattern"), "q_proj=1.5"),
        (Field::named("lora_alpha"), "0"),
    ] {
        let mut form = Form::default();
        form.set(field, text);
        assert_eq!(form.run_spec(), Err(field), "{text:?}");
        assert!(form.error(field).is_some(), "{text:?}");
    }
}

#[test]
fn an_adapter_has_what_its_method_has_a_use_for() {
    let mut form = Form::default();
    form.set(Field::named("layers_to_transform"), " 2 - 7");
    form.set(
        Field::named("rank_pattern"),
        "q_proj=16; layers.3.mlp.up_proj:4",
    );
    form.set(Field::named("loraplus_lr_ratio"), "8");
    let range = Some(LayerRange { first: 2, last: 7 });
    let spec = form.run_spec().unwrap().adapter;
    assert_eq!(spec.layers_to_transform, range);
    assert_eq!(spec.rank(3, TargetModule::QProj), 16);
    assert_eq!(spec.rank(3, TargetModule::UpProj), 4);
    assert_eq!(spec.rank(2, TargetModule::UpProj), 8);
    form.set(Field::named("lora_alpha"), "0,5");
    form.set(Field::named("alpha_pattern"), "q_proj=2.5; up_proj=4");
    let spec = form.run_spec().unwrap().adapter;
    assert_eq!(spec.alpha(3, TargetModule::VProj), 0.5);
    assert_eq!(spec.alpha(3, TargetModule::QProj), 2.5);
    assert_eq!(spec.alpha(3, TargetModule::UpProj), 4.0);
    form.set(Field::named("lora_alpha"), "16");
    let usual = AdapterSpec::default();
    assert_eq!(
        spec.loraplus_lr_ratio, usual.loraplus_lr_ratio,
        "not of LoRA"
    );
    form.settings.run.adapter.method = Method::LoraPlus;
    assert_eq!(form.run_spec().unwrap().adapter.loraplus_lr_ratio, 8.0);
    form.settings.run.adapter.method = Method::Ia3;
    // What it has no use for does not stand in its way.
    form.set(Field::named("r"), "none");
    let spec = form.run_spec().unwrap().adapter;
    assert_eq!((spec.r, spec.layers_to_transform), (usual.r, range));
    assert!(spec.rank_pattern.is_empty());
    form.settings.run.adapter.method = Method::Dora;
    assert_eq!(form.run_spec(), Err(Field::named("r")));
}

fn choose(form: &mut Form, method: Method) {
    form.choose(Field::named("method"), method as usize);
}

#[test]
fn a_method_brings_what_it_begins_with_and_keeps_what_was_typed() {
    let mut form = Form::default();
    choose(&mut form, Method::Ia3);
    let spec = form.run_spec().unwrap();
    assert_eq!(
        spec.adapter.target_modules,
        Method::Ia3.facts().target_modules
    );
    assert_eq!(spec.learning_rate, 0.01);
    form.set(Field::named("learning_rate"), "0.02");
    choose(&mut form, Method::Vera);
    assert_eq!(form.text(Field::named("r")), "256");
    assert_eq!(form.text(Field::named("learning_rate")), "0.02", "typed");
    assert_eq!(form.text(Field::named("target_modules")), "q_proj, v_proj");
    choose(&mut form, Method::Lora);
    assert_eq!(form.text(Field::named("r")), "8");
    form.set(Field::named("learning_rate"), "0.001");
    assert_eq!(form.run_spec(), Ok(RunSpec::default()));
}

#[test]
fn the_page_refuses_what_the_engine_refuses_in_the_same_words() {
    let mut form = Form::default();
    let epochs = Field::named("num_train_epochs");
    form.set(epochs, "0");
    assert_eq!(form.run_spec(), Err(epochs));
    let told = form.error(epochs).unwrap();
    assert_eq!(
        told,
        "Epochs: 0 is not possible; it must be above 0 (or 0 where max steps is set) and at most 10000."
    );
    form.set(Field::named("max_steps"), "5");
    assert_eq!((form.error(epochs), form.run_spec().is_ok()), (None, true));
    let decay = Field::named("weight_decay");
    form.set(decay, "1.5");
    assert_eq!(
        form.error(decay).as_deref(),
        Some("Weight decay must be a number from 0 to 1.")
    );
    form.set(decay, "1");
    let ranks = Field::named("rank_pattern");
    form.set(ranks, "q_proj=257");
    assert_eq!(form.run_spec(), Err(ranks));
    assert_eq!(
        form.error(ranks).as_deref(),
        Some("Ranks by module: q_proj is 257; it must be from 1 to 256.")
    );
}

/// Whatever is typed or chosen of a setting comes out of the form.
#[test]
fn every_setting_of_a_run_reaches_the_run() {
    let mut settings = protocol::Settings::default();
    let mut form = Form::default();
    for (name, text) in [
        ("r", "32"),
        ("lora_alpha", "48"),
        ("lora_dropout", "0.25"),
        ("target_modules", "o_proj"),
        ("learning_rate", "0.5"),
        ("num_train_epochs", "7"),
        ("max_steps", "11"),
        ("per_device_train_batch_size", "3"),
        ("gradient_accumulation_steps", "5"),
        ("seed", "6"),
        ("warmup_ratio", "0.75"),
        ("weight_decay", "0.125"),
        ("max_grad_norm", "2"),
        ("eval_steps", "13"),
        ("adam_beta1", "0.5"),
        ("adam_beta2", "0.625"),
        ("adam_epsilon", "1e-5"),
        ("layers_to_transform", "1-2"),
        ("rank_pattern", "q_proj=4"),
        ("alpha_pattern", "q_proj=4.5"),
        ("max_seq_length", "77"),
        ("validation_split", "0.5"),
        ("test_split", "0.0625"),
    ] {
        let field = Field::named(name);
        assert_ne!(form.text(field), text);
        form.set(field, text);
        settings.run = form.run_spec().unwrap();
        assert_eq!(field.setting().text(&settings), text);
    }
    for field in Field::all() {
        let setting = field.setting();
        let has_text = !form.text(field).is_empty();
        assert_eq!(has_text, setting.is_typed(), "{}", setting.name);
    }
}

#[test]
fn modules_are_toggled_in_the_order_of_the_forward_pass() {
    let mut form = Form::default();
    form.set(Field::named("target_modules"), "v_proj;Q_PROJ  v_proj");
    assert_eq!(
        form.target_modules(),
        [TargetModule::QProj, TargetModule::VProj]
    );
    form.toggle_module(TargetModule::KProj);
    assert_eq!(
        form.text(Field::named("target_modules")),
        "q_proj, k_proj, v_proj"
    );
    form.toggle_module(TargetModule::QProj);
    assert_eq!(form.text(Field::named("target_modules")), "k_proj, v_proj");
}

#[test]
fn numbers_are_written_for_people() {
    assert_eq!(format::count(460_800), "460,800");
    assert_eq!(format::count(7), "7");
    assert_eq!(format::bytes(98_362_432), "98 MB");
    assert_eq!(format::bytes(999_700), "1.0 MB");
    assert_eq!(format::bytes(12), "12 bytes");
    assert_eq!(format::duration(59.4), "59 s");
    assert_eq!(format::duration(100.0), "2 min");
    assert_eq!(format::duration(7500.0), "2 h 5 min");
    assert_eq!(format::parameters(134_515_008), "135 million");
    assert_eq!(format::small(0.0005), "5.0e-4");
    assert_eq!(format::compact(9_876), "9,876");
    assert_eq!(format::compact(871_499), "871 k");
    assert_eq!(format::compact(999_600), "1.0 M");
    assert_eq!(format::compact(1_234_567_890), "1,235 M");
}

#[test]
fn clauses_become_sentences() {
    assert_eq!(
        format::sentence("the loss became NaN"),
        "The loss became NaN."
    );
    assert_eq!(format::sentence("Choose a decoder."), "Choose a decoder.");
    assert_eq!(format::sentence(""), ".");
}
