#!/bin/sh
# Sees to the browser that the studio's tests look at its pages with: Debian's chromium.
# Installs it where we are root and apt is there; elsewhere those tests are skipped, and say so.
set -eu
if command -v chromium >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing chromium for the tests of foreact studio"
    { apt-get install -y -qq --no-install-recommends chromium ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }; } >/dev/null 2>&1 || true
fi
command -v chromium >/dev/null 2>&1 ||
    echo "foreact studio is not looked at in a browser; type: sudo apt-get install -y chromium" >&2
