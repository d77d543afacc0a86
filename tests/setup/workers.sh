#!/usr/bin/env bash
# Builds the engine's workers into a folder: by trunk after the page, or by hand: workers.sh FOLDER [NAME...].
# A visitor loads the one that reads data and one of the others, so each is a file of its own. Always optimized: without, a tensor library is no use.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Name, the worker's binary, its features, and the kind of build: `fast` for the reader, whose loops are our own;
# `threads`, or `relaxed` for threads and the fused multiply-add of relaxed SIMD, which not every browser has. The page
# chooses (app/src/state/device.rs).
WORKERS=(
    "worker_gpu          worker_gpu  gpu              single"
    "worker_data         worker_data reader           fast"
    "worker_cpu          worker_cpu  cpu              single"
    "worker_merger       worker_merger cpu            single"
    "worker_cpu_threads  worker_cpu  cpu,threads      threads"
    "worker_cpu_relaxed  worker_cpu  cpu,threads      relaxed"
)

has_threads() { [ "$1" = threads ] || [ "$1" = relaxed ]; }

# build BINARY FEATURES KIND: the path of the program that cargo made.
build() {
    local binary=$1 features=$2 kind=$3
    local cargo=(cargo build --locked --release --target wasm32-unknown-unknown --package worker --bin "$binary" --features "$features")
    if [ "$kind" = relaxed ]; then cargo+=("${RELAXED[@]}"); fi
    if [ "$kind" = fast ]; then cargo+=("${FAST[@]}"); fi
    if has_threads "$kind"; then
        with_threads "${cargo[@]}" "${WITH_THREADS[@]}" >&2 || return
        echo "$THREADS_TARGET/wasm32-unknown-unknown/release/$binary.wasm"
    else
        "${cargo[@]}" >&2 || return
        echo "$TARGET/wasm32-unknown-unknown/release/$binary.wasm"
    fi
}

# The worker's first script, which starts the program.
loader() {
    cat <<JAVASCRIPT
import { live } from "./worker_life.js";
await live("./$1.js");
JAVASCRIPT
}

# bind FOLDER NAME PROGRAM: the program with its JavaScript. Functions' names would be a tenth of a worker's download or more; a
# panic tells its place by file and line all the same.
bind() {
    wasm-bindgen --target web --no-typescript --remove-name-section --remove-producers-section \
        --out-dir "$1" --out-name "$2" "$3"
}

# make_worker FOLDER NAME BINARY FEATURES KIND
make_worker() {
    local folder=$1 name=$2 wasm
    wasm=$(build "${@:3}") || die "$name could not be built"
    # See engine/worker/src/constructor.rs: each such wrapper would run all constructors at every call from JavaScript.
    if grep -q -a -F .command_export "$wasm"; then die "$name runs its static constructors at every call"; fi
    bind "$folder" "$name" "$wasm"
    loader "$name" >"$folder/${name}_loader.js"
}

# make_some KINDS FOLDER [NAME...]
make_some() {
    local kinds=$1 folder=$2 name binary features kind start
    shift 2
    for worker in "${WORKERS[@]}"; do
        read -r name binary features kind <<<"$worker"
        if [[ " $kinds " != *" $kind "* ]]; then continue; fi
        if (($# > 0)) && [[ " $* " != *" $name "* ]]; then continue; fi
        if has_threads "$kind" && ! has_rust_src; then
            say "$name is left out: it needs the toolchain's component rust-src (make setup). On a CPU, Inlay will train on one thread."
            continue
        fi
        start=$SECONDS
        make_worker "$folder" "$name" "$binary" "$features" "$kind"
        say "$name: $(gzip -9 <"$folder/${name}_bg.wasm" | wc -c) bytes gzipped, built in $(elapsed "$start")"
    done
}

# make_workers FOLDER [NAME...]
make_workers() {
    local folder=$1
    mkdir -p "$folder"
    # The builds with threads run alongside the others: they share no artifacts, and each often waits for one large crate that uses
    # one core.
    aside make_some "threads relaxed" "$@"
    make_some "single fast" "$@"
    wait "$aside"
    cp engine/worker/src/thread.js "$folder/worker_thread.js"
    cp engine/worker/src/life.js "$folder/worker_life.js"
}

if [ -n "${TRUNK_STAGING_DIR:-}" ]; then
    # The page again, as trunk has no option to leave out the functions' names: a fifth of its download.
    bind "$TRUNK_STAGING_DIR" app "$TARGET/wasm32-unknown-unknown/page/app.wasm"
    make_workers "$TRUNK_STAGING_DIR"
else
    (($# > 0)) || die "usage: workers.sh FOLDER [NAME...]"
    make_workers "$@"
fi
