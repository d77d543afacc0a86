#!/usr/bin/env bash
# Builds the page into dist, unless dist is newer than all of its sources.
set -euo pipefail
# shellcheck source=tests/setup/tools.sh
source "$(dirname "${BASH_SOURCE[0]}")/tools.sh"
bash tests/setup/model.sh

# The sources of the page, without its server. Directories count, too: their time changes when a file in them is removed.
SOURCES=(app engine index.html Trunk.toml Cargo.toml Cargo.lock .cargo rust-toolchain.toml
    tests/setup/common.sh tests/setup/workers.sh "$MATERIAL/$MODEL_NAME")

is_fresh() {
    [ -f dist/index.html ] && [ -f "dist/models/$MODEL_NAME" ] && [ -z "$(find "${SOURCES[@]}" -path app/server -prune -o -newer dist/index.html -print -quit)" ]
}

if is_fresh; then
    say "dist is up to date"
else
    start=$SECONDS
    say "Building the page into dist (the first time takes many minutes) ..."
    # NO_COLOR=1, which some shells set, is not the boolean that trunk expects.
    env -u NO_COLOR trunk build --release --locked </dev/null || die "the page could not be built"
    touch dist/index.html
    say "Building the page into dist: done in $(elapsed "$start")"
fi
