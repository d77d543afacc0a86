#!/usr/bin/env bash
# Run by trunk after a build: puts the bundled model next to the page, as a hard link if the file system allows it.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

target=$TRUNK_STAGING_DIR/models
if [ -f "$MATERIAL/$MODEL_NAME" ]; then
    mkdir -p "$target"
    cp --dereference --link "$MATERIAL/$MODEL_NAME" "$target/" 2>/dev/null || cp --dereference "$MATERIAL/$MODEL_NAME" "$target/"
else
    echo "the bundled model is missing (make model): the page is built without it" >&2
fi
