#!/usr/bin/env bash
# Sets up what is missing, builds the page if it is out of date, and serves it until Ctrl-C.
set -euo pipefail
# shellcheck source=tests/setup/build.sh
source "$(dirname "${BASH_SOURCE[0]}")/build.sh"

trap 'echo; say "Stopped"; exit 0' INT TERM
slowly "Building the server" cargo build --locked --package server --bin serve || die "the server could not be built"
cargo run --quiet --locked --package server --bin serve -- dist "${PORT:-8080}"
