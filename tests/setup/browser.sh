#!/usr/bin/env bash
# Installs what the page's journeys need and is missing: Chromium and its driver, of one version, and axe.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

E2E=$ROOT/tests/e2e

[ -x /usr/bin/chromium ] && [ -x /usr/bin/chromedriver ] ||
    apt_install "The browser tests need Chromium and its driver" chromium chromium-driver

# As package-lock.json pins it. Debian's npm is hundreds of packages, too many to bring for one test, which says that it skips.
install_axe() {
    [ -n "$(find "$E2E/node_modules/.package-lock.json" -newer "$E2E/package-lock.json" 2>/dev/null)" ] && return
    has npm && slowly "Installing axe (npm)" npm ci --prefix "$E2E" --ignore-scripts --no-audit --no-fund
}
install_axe || say "axe could not be installed by npm: what it would find in the page is not looked for"
