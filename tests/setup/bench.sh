#!/usr/bin/env bash
# Sets up what is missing, builds the bench's page into target/bench/site, and runs the bench with the given options:
#   make bench ARGS="--only step,matmul --sides ours,jax"
# BUILDS="gpu threads" makes only these builds of the engine; SKIP_BUILD=1 makes none.
set -euo pipefail
# shellcheck source=tests/setup/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"
bash tests/setup/browser.sh
bash tests/setup/model.sh

BENCH=$ROOT/tests/bench
SITE=$ROOT/target/bench/site

# The peers, as pinned in package-lock.json; the bench reports missing ones.
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
    cp -R "$@" "$folder/" || say "MISSING: $folder is incomplete; its rows will say so"
}

place_site() {
    mkdir -p "$SITE/ours"
    cp "$BENCH"/site/* "$SITE/"
    cp engine/worker/src/thread.js "$SITE/worker_thread.js"
    cp engine/worker/src/life.js "$SITE/worker_life.js"
    place_model "$SITE/models"
    local modules=$BENCH/node_modules
    place_peer jax "$modules"/@jax-js/jax/dist/*
    place_peer tfjs "$modules"/@tensorflow/tfjs-core/dist/tf-core.min.js \
        "$modules"/@tensorflow/tfjs-backend-cpu/dist/tf-backend-cpu.min.js \
        "$modules"/@tensorflow/tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js \
        "$modules"/@tensorflow/tfjs-backend-wasm/dist/{tf-backend-wasm.min.js,*.wasm}
}

# build_ours BUILD FEATURES CARGO_ARGUMENT...: builds the engine's side, with wasm-bindgen's glue.
build_ours() {
    local build=$1 features=$2 target=$TARGET
    shift 2
    local cargo=(cargo build --locked --release --target wasm32-unknown-unknown --package bench --lib --features "$features" "$@")
    if [ "$features" != gpu ] && [ "$features" != cpu ]; then
        if ! has_rust_src; then
            say "MISSING: the $build build needs the toolchain's component rust-src (make setup)"
            return
        fi
        target=$THREADS_TARGET
        cargo=(with_threads "${cargo[@]}" "${WITH_THREADS[@]}")
    fi
    slowly "Building the engine for the bench ($build)" "${cargo[@]}" || die "the $build build failed"
    wasm-bindgen --target web --no-typescript --out-dir "$SITE/ours/$build" "$target/wasm32-unknown-unknown/release/bench.wasm"
}

install_peers || say "MISSING: the peers could not be installed; their rows will say so"
place_site
if [ -z "${SKIP_BUILD:-}" ]; then
    # In the same way as tests/setup/workers.sh builds the page's workers.
    for build in ${BUILDS:-gpu cpu threads relaxed}; do
        case $build in
        gpu | cpu) build_ours "$build" "$build" ;;
        threads) build_ours threads threads ;;
        relaxed) build_ours relaxed fused "${RELAXED[@]}" ;;
        *) die "there is no build $build" ;;
        esac
    done
fi
slowly "Building the bench's driver" cargo build --locked --package bench --features driver --bin bench || die "the driver could not be built"
exec cargo run --quiet --locked --package bench --features driver --bin bench -- "$@"
