#!/bin/sh
# Makes a virtual environment. Debian's python3 cannot until python3-venv is there: installs it where we are root and
# apt is there, otherwise says in one line what to type.
set -eu
python=$1
venv=$2
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || {
    echo "foreact needs Python 3.11 to 3.13; type: make PYTHON=python3.12" >&2
    exit 1
}
if "$python" -m venv "$venv" >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing python3-venv"
    { apt-get install -y -qq python3-venv || { apt-get update -qq && apt-get install -y -qq python3-venv; }; } \
        >/dev/null 2>&1 || true
fi
rm -rf "$venv"
if "$python" -m venv "$venv" >/dev/null 2>&1; then exit 0; fi
echo "'$python -m venv' does not work; type: sudo apt-get install -y python3-venv" >&2
exit 1
