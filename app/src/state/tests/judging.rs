use protocol::{DeviceKind, DeviceProblem, DeviceReport, Precision};

use crate::state::device::{
    AdapterFacts, Browser, Build, CpuBuild, DeviceState, ThreadFacts, WhySingle, browser_of,
    choose_cpu, judge,
};

fn good() -> AdapterFacts {
    AdapterFacts {
        name: "NVIDIA ada".into(),
        is_fallback: false,
        max_storage_buffer_binding_size: 1 << 30,
        max_buffer_size: 1 << 30,
        max_compute_invocations_per_workgroup: 1024,
        max_storage_buffers_per_shader_stage: 10,
    }
}

#[test]
fn a_real_adapter_is_taken() {
    assert_eq!(judge(&good()), None);
}

#[test]
fn software_adapters_are_known_by_flag_and_name() {
    for name in [
        "Google SwiftShader",
        "llvmpipe (LLVM 15)",
        "Microsoft Basic Render Driver",
    ] {
        let facts = AdapterFacts {
            name: name.into(),
            ..good()
        };
        assert_eq!(
            judge(&facts),
            Some(DeviceProblem::SoftwareAdapter { name: name.into() })
        );
    }
    let facts = AdapterFacts {
        is_fallback: true,
        ..good()
    };
    assert!(matches!(
        judge(&facts),
        Some(DeviceProblem::SoftwareAdapter { .. })
    ));
}

#[test]
fn small_limits_are_named() {
    let facts = AdapterFacts {
        max_compute_invocations_per_workgroup: 128,
        ..good()
    };
    let expected = DeviceProblem::LimitTooSmall {
        limit: "maxComputeInvocationsPerWorkgroup".into(),
        actual: 128,
        needed: 256,
    };
    assert_eq!(judge(&facts), Some(expected));
}

#[test]
fn the_cpu_engine_gets_every_thread_that_the_browser_allows() {
    let all = ThreadFacts {
        is_isolated: true,
        has_shared_memory: true,
        has_async_wait: true,
        has_relaxed_simd: true,
    };
    assert_eq!(choose_cpu(all), CpuBuild::Relaxed);
    let plain = ThreadFacts {
        has_relaxed_simd: false,
        ..all
    };
    assert_eq!(choose_cpu(plain), CpuBuild::Threads);
    let bare = ThreadFacts {
        is_isolated: false,
        ..all
    };
    assert_eq!(
        choose_cpu(bare),
        CpuBuild::Single(WhySingle::NotIsolated),
        "whatever else is there"
    );
    let old = [
        ThreadFacts {
            has_shared_memory: false,
            ..all
        },
        ThreadFacts {
            has_async_wait: false,
            ..all
        },
    ];
    for facts in old {
        assert!(matches!(
            choose_cpu(facts),
            CpuBuild::Single(WhySingle::Lacks(_))
        ));
    }
}

#[test]
fn each_build_has_a_script_of_its_own() {
    let builds = [
        Build::Gpu,
        Build::Cpu(CpuBuild::Relaxed),
        Build::Cpu(CpuBuild::Threads),
        Build::Cpu(CpuBuild::Single(WhySingle::NotIsolated)),
    ];
    let mut scripts: Vec<&str> = builds.iter().map(Build::script).collect();
    scripts.sort_unstable();
    scripts.dedup();
    assert_eq!(scripts.len(), builds.len());
}

#[test]
fn threads_that_fail_at_start_are_given_up_and_others_are_not() {
    let mut device = DeviceState::default();
    assert!(!device.is_starting_threads());
    device.start(Build::Cpu(CpuBuild::Threads), None);
    assert!(device.is_starting_threads());
    device.ready(DeviceReport {
        kind: DeviceKind::Cpu,
        name: "CPU".into(),
        self_test: vec![],
        threads: 2,
        precision: Precision::Single,
    });
    assert!(
        !device.is_starting_threads(),
        "later crashes have other causes"
    );
    let single = CpuBuild::Single(WhySingle::Failed("no memory".into()));
    device.start(Build::Cpu(single), None);
    assert!(!device.is_starting_threads());
}

#[test]
fn browsers_are_told_apart() {
    let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
    let safari = "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15";
    assert_eq!(browser_of(chrome), Browser::Chromium);
    assert_eq!(browser_of(safari), Browser::Safari);
    assert_eq!(
        browser_of("Mozilla/5.0 (X11; rv:141.0) Gecko/20100101 Firefox/141.0"),
        Browser::Firefox
    );
}
