#!/bin/sh
# Sees to the system library that MuJoCo needs to render without a screen: libEGL.
# Installs it where we are root and apt is there, otherwise says in one line what to type.
set -eu
python=$1
has_egl() { "$python" -c 'import ctypes.util, sys; sys.exit(ctypes.util.find_library("EGL") is None)'; }
[ "$(uname -s)" = Linux ] || exit 0
if has_egl; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing libegl1 for headless rendering"
    apt-get install -y -qq libegl1 libgl1-mesa-dri >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -y -qq libegl1 libgl1-mesa-dri >/dev/null; }
fi
if has_egl; then exit 0; fi
echo "headless rendering needs libEGL; type: sudo apt-get install -y libegl1 libgl1-mesa-dri" >&2
exit 1
