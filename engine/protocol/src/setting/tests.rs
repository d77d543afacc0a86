use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};

use super::*;
use crate::{ControlTokens, LrSchedulerType, Method, PrecisionChoice, TrainOn};

fn named(name: &str) -> &'static Setting {
    SETTINGS.iter().find(|line| line.name == name).unwrap()
}

#[test]
fn no_two_settings_are_called_the_same() {
    for line in SETTINGS {
        let same_name = SETTINGS.iter().filter(|other| other.name == line.name);
        assert_eq!(same_name.count(), 1, "{}", line.name);
        let same_label = SETTINGS.iter().filter(|other| other.label == line.label);
        assert_eq!(same_label.count(), 1, "{}", line.label);
        assert!(!line.hint.is_empty(), "{}", line.name);
    }
}

#[test]
fn every_first_value_is_within_its_limits_under_every_method() {
    for method in Method::ALL {
        let settings = Settings::from(&RunSpec::of_method(method));
        for line in SETTINGS {
            let problems = line.problems(&settings);
            assert_eq!(problems, Vec::<String>::new(), "{method:?}: {}", line.name);
        }
    }
}

#[test]
fn each_setting_has_a_value_of_its_own() {
    let mut changed = Settings::default();
    for line in SETTINGS {
        let before = changed.clone();
        match &line.access {
            Access::Whole(_, at) => *(at.get_mut)(&mut changed) += 1,
            Access::Size(_, at) => *(at.get_mut)(&mut changed) += 1,
            Access::Real(_, at) => *(at.get_mut)(&mut changed) += 0.25,
            Access::Switch(at) => *(at.get_mut)(&mut changed) = true,
            Access::Choice(choice) => {
                let last = choice.count() - 1;
                choice.choose(&mut changed, last);
                assert_eq!(choice.chosen(&changed), last);
            }
            Access::Modules(at) => (at.get_mut)(&mut changed).push(TargetModule::OProj),
            Access::Layers(at) => {
                *(at.get_mut)(&mut changed) = Some(LayerRange { first: 1, last: 2 });
            }
            Access::Ranks(_, at) => {
                (at.get_mut)(&mut changed).insert("q_proj".to_owned(), 4);
            }
            Access::Alphas(_, at) => {
                (at.get_mut)(&mut changed).insert("q_proj".to_owned(), 4.5);
            }
            Access::LeftOut(at) => (at.get_mut)(&mut changed).push(FindingKind::Secret),
            Access::FileSides(at) => (at.get_mut)(&mut changed).push(FileSide {
                file: "a.csv".to_owned(),
                side: crate::Side::Test,
            }),
        }
        assert_ne!(changed, before, "{}", line.name);
        // Nothing else was changed, and the copy takes it.
        let mut copy = before;
        line.copy(&changed, &mut copy);
        assert_eq!(copy, changed, "{}", line.name);
    }
}

#[test]
fn choices_are_written_as_messages_write_them() {
    fn check<T>()
    where
        T: Choosable + for<'a> Deserialize<'a> + std::fmt::Debug,
    {
        for &value in T::all() {
            let read = T::deserialize(StrDeserializer::<Error>::new(value.key()));
            assert_eq!(read.unwrap(), value);
        }
    }
    check::<Method>();
    check::<LrSchedulerType>();
    check::<PrecisionChoice>();
    check::<TrainOn>();
    check::<ControlTokens>();
}

#[test]
fn what_is_wrong_is_said_with_the_value_and_the_limits() {
    let told = |name: &str, change: fn(&mut RunSpec)| {
        let mut settings = Settings::default();
        change(&mut settings.run);
        named(name).problems(&settings).join(" ")
    };
    for (actual, expected) in [
        (
            told("r", |run| run.adapter.r = 0),
            "0 is not possible; it must be from 1 to 256.",
        ),
        (
            told("learning_rate", |run| run.learning_rate = f64::NAN),
            "NaN is not possible; it must be above 0 and at most 1.",
        ),
        (
            told("adam_beta2", |run| run.adam_beta2 = 1.0),
            "1 is not possible; it must be at least 0 and below 1.",
        ),
        (
            told("adam_epsilon", |run| run.adam_epsilon = 1e-50),
            "1e-50 is not possible; it must be above 1e-37 and at most 1.",
        ),
        (
            told("alpha_pattern", |run| {
                run.adapter.alpha_pattern = [("q_proj".to_owned(), 0.0)].into();
            }),
            "q_proj is 0; it must be above 0 and at most 65536.",
        ),
        (
            told("num_train_epochs", |run| run.num_train_epochs = 0.0),
            "0 is not possible; it must be above 0 (or 0 where max steps is set) and at most 10000.",
        ),
        (
            told("packing", |run| {
                run.adapter.method = Method::PromptTuning;
                run.packing = true;
            }),
            "with prompt tuning, rows cannot be packed, since the learned prompt comes before every row.",
        ),
        (
            told("r", |run| {
                run.adapter.method = Method::Ia3;
                run.adapter.r = 0;
            }),
            "",
        ),
        (
            told("loraplus_lr_ratio", |run| {
                run.adapter.loraplus_lr_ratio = f64::INFINITY;
            }),
            "inf is not possible; it must be above 0 and at most 1000.",
        ),
    ] {
        assert_eq!(actual, expected);
    }
}
