#!/bin/sh
# Install what tests/report needs: Chromium, from Debian's packages. Nothing is started.
# Exit status 1, with the reason in one line, where that cannot be done.
set -eu

present() {
    for program in chromium chromium-browser google-chrome chrome; do
        command -v "$program" > /dev/null && return 0
    done
    return 1
}

present && exit 0
command -v apt-get > /dev/null || { echo "no Chromium: it is not installed, and there is no apt-get" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "no Chromium: not root. Install it with: apt-get install chromium" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
{ apt-get update && apt-get install --yes --no-install-recommends chromium; } > /dev/null 2>&1 || true
present || { echo "no Chromium: apt-get install chromium failed" >&2; exit 1; }
