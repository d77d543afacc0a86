#!/usr/bin/env bash
# Installs what building the page needs and is missing: a C linker, the wasm target, and the pinned tools into .tools.
# Sourced by the other scripts (it may have to choose a toolchain for them); runs by itself just as well.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# version_at_least HAVE WANT
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rustc_version() { rustc --version 2>/dev/null | cut -d' ' -f2; }

# The pinned toolchain where it is there or can be fetched, else any installed one that is new enough.
choose_toolchain() {
    if ! has cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
        export PATH=$PATH:$HOME/.cargo/bin
    fi
    has cargo || die "Rust is missing: install it from https://rustup.rs, then run this again"
    local pinned
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    if ! has rustup; then
        version_at_least "$(rustc_version)" "$RUST_MINIMUM" ||
            die "Rust $RUST_MINIMUM or newer is needed, this is $(rustc_version): install it from https://rustup.rs"
        return
    fi
    # Inside this directory rustc is the pinned one, or nothing at all.
    if [ -n "$(rustc_version)" ]; then return; fi
    if slowly "Installing the Rust toolchain $pinned" rustup toolchain install "$pinned" --profile minimal -c clippy -c rustfmt; then
        return
    fi
    local name version
    while read -r name _; do
        version=$(RUSTUP_TOOLCHAIN=$name rustc_version)
        if [ -n "$version" ] && version_at_least "$version" "$RUST_MINIMUM"; then
            say "The pinned toolchain $pinned could not be fetched; going on with the installed $name (Rust $version)"
            export RUSTUP_TOOLCHAIN=$name
            return
        fi
    done < <(rustup toolchain list)
    die "the Rust toolchain $pinned could not be fetched and no installed one is $RUST_MINIMUM or newer"
}

install_wasm_target() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ] && return
    has rustup || die "the target wasm32-unknown-unknown is missing: install your distribution's package of it, or rustup"
    slowly "Adding the target wasm32-unknown-unknown" rustup target add wasm32-unknown-unknown ||
        die "rustup could not add the target wasm32-unknown-unknown"
}

# Threads are worth several times the speed on a CPU, but not worth failing for.
install_rust_src() {
    has_rust_src && return
    if has rustup && slowly "Adding the standard library's source, for wasm with threads" rustup component add rust-src; then
        return
    fi
    say "The component rust-src is missing and could not be added: the page is built without threads"
}

install_tools() {
    has cc || apt_install "Rust needs a C linker" gcc libc6-dev
    choose_toolchain
    install_wasm_target
    install_rust_src
    install_tool wasm-bindgen wasm-bindgen-cli "$WASM_BINDGEN_VERSION" 1 ||
        die "could not install wasm-bindgen-cli $WASM_BINDGEN_VERSION"
    # Its own downloads of tools need TLS; ours are on PATH, so it is built without.
    install_tool trunk trunk "$TRUNK_VERSION" 0 --no-default-features ||
        die "could not install trunk $TRUNK_VERSION"
    install_tool wasm-pack wasm-pack "$WASM_PACK_VERSION" 0 ||
        die "could not install wasm-pack $WASM_PACK_VERSION"
    rm -rf "$TOOLS/build"
}

install_tools
