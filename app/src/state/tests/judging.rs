use engine::protocol::DeviceProblem;

use crate::state::device::{AdapterFacts, Browser, browser_of, judge};
use crate::state::files::{FileRole, role};

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

#[test]
fn dropped_files_are_told_apart_by_content_before_name() {
    let mut safetensors = 1200_u64.to_le_bytes().to_vec();
    safetensors.extend(br#"{"__met"#);
    assert_eq!(role("weights.bin", b"GGUF\x03\0\0\0"), FileRole::Model);
    assert_eq!(role("weights.bin", &safetensors), FileRole::Model);
    assert_eq!(role("Config.json", b"{"), FileRole::Model);
    assert_eq!(role("rows.json", br#"{"text": "GGUF"}"#), FileRole::Dataset);
    assert_eq!(
        role("rows.gguf", b""),
        FileRole::Model,
        "a damaged one gets the model reader's message"
    );
    assert_eq!(role("rows.jsonl", b""), FileRole::Dataset);
}
