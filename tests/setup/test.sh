#!/usr/bin/env bash
# Runs every check, cheapest first, and prints one summary line at the end: "N passed, N failed, N skipped".
# A stage's own count is read from its test runner's closing lines; a stage without one counts as one check.
set -euo pipefail
# shellcheck source=tests/setup/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"
bash tests/setup/browser.sh
bash tests/setup/model.sh

# disk: the free space in GB. A full disk fails in strange places, so the log shows it.
disk() { df -Pk "$ROOT" | awk 'NR == 2 { printf "%.1f", $4 / 1e6 }'; }
say "$(disk) GB free on this disk; a run on a fresh checkout fills about 9"

passed=0 failed=0 skipped=0
failures=()
times=()
# The output of failed stages, shown again at the end, since thousands of lines follow it.
said_of_failures=""
suite_start=$SECONDS

# sum_of PATTERN FILE: the sum of the numbers before PATTERN in the runners' closing lines.
sum_of() { grep -aE '^test result: ' "$2" | grep -oE "[0-9]+ $1" | awk '{ sum += $1 } END { print sum + 0 }' || true; }

# failures_in FILE: the output of failed tests, which the runners repeat between two lines of "failures:"; without such
# lines, as for a compiler, the last lines.
failures_in() {
    local found
    found=$(awk '/^failures:$/ { inside = !inside; next } inside && ++lines <= 300 { print substr($0, 1, 2000) }' "$1")
    if [ -n "$found" ]; then printf '%s\n' "$found"; else tail -n 60 "$1"; fi
}

page_log=$(mktemp "${TMPDIR:-/tmp}/inlay-page.XXXXXX")
build_page() { bash tests/setup/build.sh >"$page_log" 2>&1 && echo "page built" >>"$page_log"; }
# Shows what building the page prints until it ends.
finish_page() {
    local status=0
    tail --follow --lines=+1 --pid="$aside" "$page_log"
    grep -q '^page built$' "$page_log" || status=1
    rm -f "$page_log"
    return "$status"
}

# stage NAME COMMAND...: runs one stage and adds to the counts. Never ends the script; its status is that of the stage.
stage() {
    local name=$1 start=$SECONDS log status=0
    shift
    log=$(mktemp "${TMPDIR:-/tmp}/inlay-test.XXXXXX")
    printf '\n== %s\n' "$name"
    "$@" </dev/null 2>&1 | tee "$log" || status=$?
    local ok bad ignored
    ok=$(sum_of passed "$log")
    bad=$(sum_of failed "$log")
    ignored=$(sum_of ignored "$log")
    # A test that cannot run here says so on its own line and passes; it is counted as skipped.
    local said
    said=$(grep -acE '^SKIPPED ' "$log" || true)
    if ((status != 0 && bad == 0)); then bad=1; fi
    if ((status == 0 && ok + bad + ignored == 0)); then ok=1; fi
    if ((status != 0)); then said_of_failures+=$(printf '\n\n== what failed in: %s\n' "$name" && failures_in "$log"); fi
    rm -f "$log"
    passed=$((passed + ok - said))
    failed=$((failed + bad))
    skipped=$((skipped + ignored + said))
    if ((status != 0)); then failures+=("$name"); fi
    times+=("$(printf '%-28s %12s  %-6s  %6s GB free' "$name" "$(elapsed "$start")" "$( ((status == 0)) && echo ok || echo FAILED)" "$(disk)")")
    return "$status"
}

# omit NAME WHY: a stage that cannot run because an earlier one failed.
omit() {
    printf '\n== %s: not run, because %s\n' "$1" "$2"
    skipped=$((skipped + 1))
    times+=("$(printf '%-28s %12s  %s' "$1" - "not run")")
}

# The crates of the engine, with the features tested natively.
ENGINE=(--package engine --package formats --package kernels --package protocol --package reader --package native --features native/cpu,native/threads,native/reader)
clippy() { cargo clippy --locked "$@" -- --deny warnings; }
# All at once, so that shared dependencies are checked once.
clippy_native() {
    clippy "${ENGINE[@]}" --package app --package server --package e2e --package tidy --package bench --features bench/driver --all-targets
}
# With a second configuration, which bans what blocks a worker.
clippy_wasm() {
    local device
    export CLIPPY_CONF_DIR=$ROOT/.ci/clippy-wasm CARGO_BUILD_TARGET=wasm32-unknown-unknown
    # Together, so that what they depend on has the same features, and is checked once.
    for device in gpu cpu; do
        clippy --package worker --package web-tests --package bench --all-targets \
            --features "worker/$device,web-tests/$device,bench/$device" || return
    done
    clippy --package worker --features reader --lib --bins || return
    # Atomics only for our own code: nothing is linked, so neither the standard library nor a dependency has to be built
    # with them, as for the page.
    cargo clippy --locked --package worker --features cpu,threads --lib --bins -- --deny warnings \
        -C target-feature=+atomics || return
    clippy --package app
}
# --show-output: passing tests may have said that they skip.
tests_of() { cargo test --locked "$@" -- --show-output; }
browser_tests() {
    local temporary status=0
    # The driver is ended before it could remove the browser's profile.
    temporary=$(mktemp -d "${TMPDIR:-/tmp}/inlay-browser.XXXXXX")
    # Seconds for one test file; a software GPU compiles its shaders slowly.
    TMPDIR=$temporary WASM_BINDGEN_TEST_TIMEOUT=1800 WASM_BINDGEN_TEST_DRIVER_TIMEOUT=180 \
        wasm-pack test --headless --chrome --chromedriver "${CHROMEDRIVER:-/usr/bin/chromedriver}" --release tests/web \
        --locked --features "$1" || status=$?
    rm -rf "$temporary"
    return "$status"
}

stage "format" cargo fmt --all --check || true
stage "structure" tests_of --package tidy || true
stage "licenses" bash tests/setup/supply.sh licenses || true
stage "vulnerabilities" bash tests/setup/supply.sh vulnerabilities || true
# In the background: a compiler often waits for one large crate, so two builds at once take little more than the longer.
aside build_page
stage "lints (native)" clippy_native || true
stage "engine tests" tests_of "${ENGINE[@]}" || true
stage "page logic tests" tests_of --package app || true
stage "server tests" tests_of --package server || true
stage "harness tests" tests_of --package e2e --lib --test harness || true
stage "lints (wasm)" clippy_wasm || true
if stage "page build, the rest" finish_page; then
    stage "page tests" tests_of --package e2e --test page || true
else
    omit "page tests" "the page could not be built"
fi
stage "browser tests (GPU)" browser_tests gpu || true
stage "browser tests (CPU)" browser_tests cpu || true

printf '%s\n\n' "$said_of_failures"
printf '%s\n' "${times[@]}"
printf '%-28s %12s\n' "in all, without set-up" "$(elapsed "$suite_start")"
if ((${#failures[@]})); then printf 'failed: %s\n' "${failures[@]}"; fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
