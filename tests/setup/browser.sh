#!/usr/bin/env bash
# Installs Chromium and its driver where they are missing; the tests need both, of one version.
set -euo pipefail
# shellcheck source=tests/setup/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ -x /usr/bin/chromium ] && [ -x /usr/bin/chromedriver ] ||
    apt_install "The browser tests need Chromium and its driver" chromium chromium-driver
