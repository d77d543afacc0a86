#!/usr/bin/env bash
# Sets up what is missing, builds the bench's page into target/bench/site, and runs the bench with the given options:
#   make bench ARGS="--only step,matmul --sides ours,jax"
# SKIP_BUILD=1 leaves the engine's builds and the page in dist as they are.
set -euo pipefail
# shellcheck source=tests/setup/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"
bash tests/setup/browser.sh
bash tests/setup/model.sh

BENCH=$ROOT/tests/bench
SITE=$ROOT/target/bench/site

# The peers, as package-lock.json pins them; the bench reports those that are not there.
install_peers() {
    if [ -z "$(find "$BENCH/node_modules/.package-lock.json" -newer "$BENCH/package-lock.json" 2>/dev/null)" ]; then
        has npm || apt_install "The peers come from npm" npm nodejs || return 1
        slowly "Installing the peers (npm)" npm ci --prefix "$BENCH" --ignore-scripts --no-audit --no-fund || return 1
    fi
}

# place_peer FOLDER FILE...: copies a peer's files into the site.
place_peer() {
    local folder=$SITE/peers/$1
    shift
    mkdir -p "$folder"
    cp -R "$@" "$folder/" || say "MISSING: $folder is not whole; its rows will say so"
}

place_site() {
    mkdir -p "$SITE/models" "$SITE/ours"
    cp "$BENCH"/site/* "$SITE/"
    ln -sf "$MATERIAL/$MODEL_NAME" "$SITE/models/$MODEL_NAME"
    local modules=$BENCH/node_modules
    place_peer jax "$modules"/@jax-js/jax/dist/*
    place_peer tfjs "$modules"/@tensorflow/tfjs-core/dist/tf-core.min.js \
        "$modules"/@tensorflow/tfjs-backend-cpu/dist/tf-backend-cpu.min.js \
        "$modules"/@tensorflow/tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js \
        "$modules"/@tensorflow/tfjs-backend-wasm/dist/{tf-backend-wasm.min.js,*.wasm}
}

# build_ours BUILD TARGET_FOLDER: wasm-bindgen's glue around the crate that was just built there.
place_ours() {
    wasm-bindgen --target web --no-typescript --out-dir "$SITE/ours/$1" "$2/wasm32-unknown-unknown/release/bench.wasm" ||
        die "wasm-bindgen could not prepare $1"
}

build_ours() {
    local build
    for build in gpu cpu; do
        slowly "Building the engine for the bench ($build)" cargo build --locked --release \
            --target wasm32-unknown-unknown --package bench --lib --features "$build" || die "the $build build failed"
        place_ours "$build" "${CARGO_TARGET_DIR:-target}"
    done
}

install_peers || say "MISSING: the peers could not be installed; their rows will say so"
place_site
if [ -z "${SKIP_BUILD:-}" ]; then build_ours; fi
slowly "Building the bench's driver" cargo build --locked --package bench --features driver --bin bench || die "the driver could not be built"
exec cargo run --quiet --locked --package bench --features driver --bin bench -- "$@"
