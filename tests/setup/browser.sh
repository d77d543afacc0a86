#!/usr/bin/env bash
# Installs what the page's journeys need and is missing: Chromium and its driver, of one version, and axe; Firefox and
# WebKitGTK with their drivers, where they can be had.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

E2E=$ROOT/tests/e2e

[ -x /usr/bin/chromium ] && [ -x /usr/bin/chromedriver ] ||
    apt_install "The browser tests need Chromium and its driver" chromium chromium-driver

# One short journey each is driven in these; where they cannot be had, its test says that it skips.
install_others() {
    local packages=()
    [ -x /usr/bin/firefox-esr ] || packages+=(firefox-esr)
    { [ -x /usr/bin/WebKitWebDriver ] && [ -x /usr/bin/Xvfb ]; } || packages+=(webkit2gtk-driver xvfb)
    if ((${#packages[@]})); then
        # In a shell of its own, which it may end.
        (apt_install "Short browser tests need Firefox and WebKitGTK" "${packages[@]}") ||
            say "Not all of ${packages[*]} could be installed: what is missing is not tested"
    fi
    if [ -x /usr/bin/firefox-esr ]; then
        install_tool geckodriver geckodriver "$GECKODRIVER_VERSION" 0 ||
            say "geckodriver could not be built: Firefox is not tested"
        rm -rf "$TOOLS/build"
    fi
}
install_others

# As package-lock.json pins it. Debian's npm is hundreds of packages, too many to bring for one test, which says that it skips.
install_axe() {
    [ -n "$(find "$E2E/node_modules/.package-lock.json" -newer "$E2E/package-lock.json" 2>/dev/null)" ] && return
    has npm && slowly "Installing axe (npm)" npm ci --prefix "$E2E" --ignore-scripts --no-audit --no-fund
}
install_axe || say "axe could not be installed by npm: what it would find in the page is not looked for"
