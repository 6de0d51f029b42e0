#!/bin/sh
# LeRobot 0.6.1 needs Python 3.12 and other versions of torch than ours, so it has an environment of its own:
# .venv-lerobot, which is made once, with our plugin in it.
set -eu
cd "$(dirname "$0")/.."
venv=.venv-lerobot
stamp=$venv/.installed

is_312() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; }
find_312() {
    for candidate in python3.12 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python3; do
        if is_312 "$candidate"; then echo "$candidate"; return; fi
    done
    echo "LeRobot 0.6.1 needs Python 3.12 and there is none on PATH or in pyenv; type: pyenv install 3.12" >&2
    return 1
}

if [ ! -e "$stamp" ] || [ constraints-lerobot.txt -nt "$stamp" ]; then
    python=$(find_312)
    echo "installing LeRobot 0.6.1 in $venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -c constraints-lerobot.txt \
        'lerobot[dataset,training,feetech]==0.6.1' h5py pytest tyro rich filelock hatchling editables \
        onnx onnxscript onnxruntime openvino nncf
    # LeRobot finds plugins among the installed distributions; foreact itself comes by PYTHONPATH.
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation \
        -e lerobot_policy_foreact
    touch "$stamp"
fi
