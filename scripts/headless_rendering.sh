#!/bin/sh
# Sees to the system library that MuJoCo needs to render without a screen: libEGL.
# Installs it where we are root and apt is there, otherwise says in one line what to type.
set -eu
python=$1
packages='libegl1 libgl1 libgl1-mesa-dri'
has_egl() {
    "$python" -c 'import ctypes.util as c, sys; sys.exit(not (c.find_library("EGL") and c.find_library("GL")))'
}
[ "$(uname -s)" = Linux ] || exit 0
if has_egl; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing $packages for headless rendering"
    { apt-get install -y -qq $packages || { apt-get update -qq && apt-get install -y -qq $packages; }; } \
        >/dev/null 2>&1 || true
fi
if has_egl; then exit 0; fi
echo "headless rendering needs libEGL; type: sudo apt-get install -y $packages" >&2
exit 1
