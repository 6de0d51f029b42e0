#!/bin/sh
# The robot's part in an environment of its own, .venv-runtime, where torch is not installed: it runs a bundle that the
# other environment exports. Prints the environment's size, which must stay below 200 MB, and the time to the first
# action.
set -eu
cd "$(dirname "$0")/.."
venv=.venv-runtime
stamp=$venv/.installed
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

pip="$venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt"
if [ ! -e "$stamp" ] || [ constraints.txt -nt "$stamp" ] || [ runtime/pyproject.toml -nt "$stamp" ]; then
    rm -rf "$venv"
    sh scripts/make_venv.sh "${PYTHON:-python3}" "$venv"
    echo "installing foreact-runtime in $venv"
    $pip ./runtime
    du -sm "$venv" | cut -f1 > "$stamp"
    $pip pytest
fi
$pip --force-reinstall --no-deps ./runtime
size=$(cat "$stamp")
echo "$venv: $size MB before pytest"
[ "$size" -lt 200 ] || { echo "the runtime's environment is larger than 200 MB" >&2; exit 1; }

.venv/bin/python tests_runtime/make_bundle.py "$folder"
"$venv/bin/python" -m foreact_runtime "$folder/bundle"
FOREACT_MADE=$folder "$venv/bin/python" -m pytest -q -p no:cacheprovider -o pythonpath= -o addopts= tests_runtime
