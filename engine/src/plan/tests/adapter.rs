//! The adapter's settings, and what it trains.

use protocol::{LayerRange, Method};

use super::*;

#[test]
fn settings_of_an_adapter_that_mean_nothing_are_refused() {
    assert_refused("Blocks", |spec| {
        spec.adapter.layers_to_transform = Some(LayerRange { first: 3, last: 30 });
    });
    for (key, rank) in [
        ("q_proj", 0),
        ("q_proj", 257),
        ("proj", 8),
        ("layers.30.self_attn.q_proj", 8),
    ] {
        assert_refused("Ranks by module", |spec| {
            spec.adapter.rank_pattern = [(key.to_owned(), rank)].into();
        });
    }
    assert_refused("Alphas by module", |spec| {
        spec.adapter.alpha_pattern = [("k_proj".to_owned(), 8.0)].into();
    });
    assert_refused("Learning rate ratio", |spec| {
        spec.adapter.loraplus_lr_ratio = f64::NAN
    });
    for num_virtual_tokens in [0, 257] {
        assert_refused("Virtual tokens", |spec| {
            spec.adapter.method = Method::PromptTuning;
            spec.adapter.num_virtual_tokens = num_virtual_tokens;
        });
    }
    assert_refused("Sequence length", |spec| {
        spec.adapter.method = Method::PromptTuning;
        spec.data.max_seq_length = 8192 - 19;
    });
    assert_refused("Packing", |spec| {
        spec.adapter.method = Method::PromptTuning;
        spec.packing = true;
    });
    // Values have 192 features.
    assert_refused("Rank", |spec| {
        spec.adapter.method = Method::Olora;
        spec.adapter.r = 193;
    });
    for method in [Method::Ia3, Method::LnTuning, Method::PromptTuning] {
        plan(|spec| {
            spec.adapter.method = method;
            spec.adapter.r = 0;
        })
        .unwrap();
    }
}

#[test]
fn a_rank_above_what_a_matrix_can_have_runs_with_a_word() {
    let told = |change: &dyn Fn(&mut RunSpec)| {
        let plan = plan(change).unwrap();
        let warnings = plan.warnings.into_iter();
        warnings
            .filter(|warning| warning.contains("rank"))
            .collect::<Vec<_>>()
    };
    // Keys and values of the model have 192 features.
    let above = told(&|spec| {
        spec.adapter.r = 256;
        spec.adapter.target_modules = vec![TargetModule::QProj, TargetModule::VProj];
    });
    assert_eq!(above.len(), 1);
    assert!(
        above[0].contains("v_proj has rank 192 at most, not 256"),
        "{above:?}"
    );
    assert!(!above[0].contains("q_proj"), "{above:?}");
    let of_one = told(&|spec| {
        spec.adapter.target_modules = vec![TargetModule::KProj];
        spec.adapter.rank_pattern = [("layers.3.self_attn.k_proj".to_owned(), 200)].into();
    });
    assert!(
        of_one[0].contains("k_proj has rank 192 at most, not 200"),
        "{of_one:?}"
    );
    assert!(told(&|spec| spec.adapter.r = 192).is_empty());
    // The matrices of VeRA are shared by all modules.
    assert!(
        told(&|spec| {
            spec.adapter.method = Method::Vera;
            spec.adapter.r = 256;
        })
        .is_empty()
    );
}

/// Counted by the layout, and without it.
#[test]
fn what_a_method_trains_is_counted() {
    let shape = ModelShape::from(&model());
    let all = |method| AdapterSpec {
        method,
        r: 4,
        target_modules: TargetModule::ALL.to_vec(),
        ..AdapterSpec::default()
    };
    // Features of q and o, k and v, gate and up, down; in and out.
    let (inputs, outputs) = (
        4 * 576 + 2 * 576 + 1536,
        576 + 2 * 192 + 576 + 2 * 1536 + 576,
    );
    let norms = 61 * 576;
    for (spec, expected) in [
        (all(Method::Lora), 30 * 4 * (inputs + outputs)),
        (all(Method::Dora), 30 * (4 * (inputs + outputs) + outputs)),
        (all(Method::Vera), 30 * (outputs + 7 * 4)),
        (all(Method::Ia3), 30 * (outputs - 576 + 1536)),
        (all(Method::LnTuning), norms),
        (all(Method::PromptTuning), 20 * 576),
        (
            AdapterSpec {
                train_norms: true,
                rank_pattern: [("down_proj".to_owned(), 6)].into(),
                layers_to_transform: Some(LayerRange {
                    first: 28,
                    last: 29,
                }),
                ..all(Method::RsLora)
            },
            2 * (4 * (inputs + outputs) + 2 * (1536 + 576)) + norms,
        ),
    ] {
        let counted = AdapterLayout::num_parameters_of(&spec, &shape);
        assert_eq!(counted, expected as u64, "{:?}", spec.method);
        let layout = AdapterLayout::new(&spec, &shape);
        assert_eq!(layout.num_parameters as u64, counted, "{:?}", spec.method);
    }
}

/// What a rate of that method is warned of, if anything.
fn told(method: Method, rate: f64) -> Vec<String> {
    let plan = plan(|spec| {
        spec.adapter.method = method;
        spec.learning_rate = rate;
    });
    plan.unwrap().warnings
}

#[test]
fn a_learning_rate_far_from_the_usual_one_is_warned_of() {
    for (method, rates) in [
        (Method::Lora, [1.0, 0.02]),
        (Method::Dora, [0.5, 0.1]),
        (Method::Ia3, [1.0, 0.2]),
    ] {
        for rate in rates {
            let warnings = told(method, rate);
            let fast = format!(
                "A learning rate of {rate} is far above what {}",
                method.facts().name
            );
            assert!(warnings[0].starts_with(&fast), "{warnings:?}");
            assert!(warnings[0].contains("get worse or diverge"));
        }
        for usual in [
            method.facts().learning_rate,
            5.0 * method.facts().learning_rate,
            1e-4,
        ] {
            assert_eq!(told(method, usual), Vec::<String>::new(), "{usual}");
        }
        let slow = told(method, 1e-7);
        assert!(
            slow[0].contains("hardly anything will be learned"),
            "{slow:?}"
        );
    }
}

/// Ranks by module count, not the largest of them: `k_proj` has 192 directions in all.
#[test]
fn a_start_from_the_base_asks_each_module_for_its_own_rank() {
    let with = |module: &str, rank: usize, r: usize| {
        let mut spec = RunSpec::default();
        spec.adapter.method = Method::Pissa;
        spec.adapter.target_modules = vec![TargetModule::KProj, TargetModule::DownProj];
        spec.adapter.r = r;
        spec.adapter.rank_pattern = [(module.to_owned(), rank)].into();
        planned(&spec, &model(), &dataset(40), CPU)
    };
    assert!(with("down_proj", 256, 8).is_ok());
    assert!(with("k_proj", 8, 256).is_ok());
    let refused = with("k_proj", 256, 8).unwrap_err();
    assert_eq!(refused.problems.len(), 1, "{refused}");
    assert!(refused.problems[0].what.starts_with("k_proj has only 192"));
}
