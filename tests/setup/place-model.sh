#!/usr/bin/env bash
# Run by trunk after a build: puts the bundled model next to the page.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ -f "$MATERIAL/$MODEL_NAME" ]; then
    place_model "$TRUNK_STAGING_DIR/models"
else
    echo "the bundled model is missing (make model): the page is built without it" >&2
fi
