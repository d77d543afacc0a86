#!/usr/bin/env bash
# Runs the tests that take a random or a long course, with many more rounds than `make test` has time for.
set -euo pipefail
# shellcheck source=tests/setup/build.sh
source "$(dirname "${BASH_SOURCE[0]}")/build.sh"
bash tests/setup/browser.sh

# Each can be set: how often files and conversations are drawn, by how much damaged models are multiplied, and the size of the
# large file. INLAY_DRILLS makes the golden curves whole.
export INLAY_DRILLS=1 INLAY_FUZZ_RUNS=${INLAY_FUZZ_RUNS:-200000} INLAY_FUZZ_FACTOR=${INLAY_FUZZ_FACTOR:-4} \
    INLAY_LARGE_FILE_MB=${INLAY_LARGE_FILE_MB:-1000}
cargo test --locked --package native --features cpu,threads,reader \
    --test bounds --test compute --test long_run --test reader_bounds --test reader_fuzz --test text --test weights -- --show-output
cargo test --locked --package e2e --test page -- --show-output large_file deaths stuck
# By itself, since it measures how late the page's timers come.
cargo test --locked --package e2e --test page -- --show-output long_run
