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
    form.set(Field::LearningRate, " 2e-3 ");
    form.set(Field::ValidationSplit, "12,5 %");
    form.set(Field::MaxSteps, "");
    form.set(Field::Seed, "1_000");
    form.set(Field::Epochs, "1.5");
    form.set(Field::SequenceLength, "1,024");
    form.set(Field::BatchSize, "2.0");
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
    assert_eq!(form.text(Field::SequenceLength), "512");
    form.fit_length(64);
    assert_eq!(form.text(Field::SequenceLength), "64");
    form.fit_length(8192);
    assert_eq!(form.text(Field::SequenceLength), "512");
    // One that was chosen stays, and is refused where it is too long.
    form.set(Field::SequenceLength, "256");
    form.fit_length(64);
    assert_eq!(form.text(Field::SequenceLength), "256");
}

#[test]
fn what_cannot_be_read_is_named() {
    for (field, text) in [
        (Field::Rank, "0"),
        (Field::Rank, "eight"),
        (Field::Rank, "8,5"),
        (Field::Rank, ""),
        (Field::Alpha, "-1"),
        (Field::LearningRate, "NaN"),
        (Field::LearningRate, "inf"),
        (Field::ValidationSplit, "95%"),
        (Field::TargetModules, "q_proj, lm_head"),
        (Field::TargetModules, " , "),
        (Field::Layers, "9-3"),
        (Field::Layers, "last"),
        (Field::RankPattern, "q_proj"),
        (Field::AlphaPattern, "q_proj=many"),
        (Field::AlphaPattern, "q_proj=inf"),
        (Field::RankPattern, "q_proj=1.5"),
        (Field::Alpha, "0"),
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
    form.set(Field::Layers, " 2 - 7");
    form.set(Field::RankPattern, "q_proj=16; layers.3.mlp.up_proj:4");
    form.set(Field::LrRatio, "8");
    let range = Some(LayerRange { first: 2, last: 7 });
    let spec = form.run_spec().unwrap().adapter;
    assert_eq!(spec.layers_to_transform, range);
    assert_eq!(spec.rank(3, TargetModule::QProj), 16);
    assert_eq!(spec.rank(3, TargetModule::UpProj), 4);
    assert_eq!(spec.rank(2, TargetModule::UpProj), 8);
    form.set(Field::Alpha, "0,5");
    form.set(Field::AlphaPattern, "q_proj=2.5; up_proj=4");
    let spec = form.run_spec().unwrap().adapter;
    assert_eq!(spec.alpha(3, TargetModule::VProj), 0.5);
    assert_eq!(spec.alpha(3, TargetModule::QProj), 2.5);
    assert_eq!(spec.alpha(3, TargetModule::UpProj), 4.0);
    form.set(Field::Alpha, "16");
    let usual = AdapterSpec::default();
    assert_eq!(
        spec.loraplus_lr_ratio, usual.loraplus_lr_ratio,
        "not of LoRA"
    );
    form.method = Method::LoraPlus;
    assert_eq!(form.run_spec().unwrap().adapter.loraplus_lr_ratio, 8.0);
    form.method = Method::Ia3;
    // What it has no use for does not stand in its way.
    form.set(Field::Rank, "none");
    let spec = form.run_spec().unwrap().adapter;
    assert_eq!((spec.r, spec.layers_to_transform), (usual.r, range));
    assert!(spec.rank_pattern.is_empty());
    form.method = Method::Dora;
    assert_eq!(form.run_spec(), Err(Field::Rank));
}

#[test]
fn a_method_brings_what_it_begins_with_and_keeps_what_was_typed() {
    let mut form = Form::default();
    form.choose(Method::Ia3);
    let spec = form.run_spec().unwrap();
    assert_eq!(
        spec.adapter.target_modules,
        Method::Ia3.facts().target_modules
    );
    assert_eq!(spec.learning_rate, 0.01);
    form.set(Field::LearningRate, "0.02");
    form.choose(Method::Vera);
    assert_eq!(form.text(Field::Rank), "256");
    assert_eq!(form.text(Field::LearningRate), "0.02", "typed");
    assert_eq!(form.text(Field::TargetModules), "q_proj, v_proj");
    form.choose(Method::Lora);
    assert_eq!(form.text(Field::Rank), "8");
    form.set(Field::LearningRate, "0.001");
    assert_eq!(form.run_spec(), Ok(RunSpec::default()));
}

#[test]
fn modules_are_toggled_in_the_order_of_the_forward_pass() {
    let mut form = Form::default();
    form.set(Field::TargetModules, "v_proj;Q_PROJ  v_proj");
    assert_eq!(
        form.target_modules(),
        [TargetModule::QProj, TargetModule::VProj]
    );
    form.toggle_module(TargetModule::KProj);
    assert_eq!(form.text(Field::TargetModules), "q_proj, k_proj, v_proj");
    form.toggle_module(TargetModule::QProj);
    assert_eq!(form.text(Field::TargetModules), "k_proj, v_proj");
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
