#!/bin/sh
# LeRobot 0.3.3, the last that wrote LeRobotDataset v2.1 and kept normalisation among a policy's weights, writes a data
# set and policies, and we read them. It has an environment of its own, .venv-lerobot-old (5 GB): its torch is older than
# ours and than LeRobot 0.6.1's.
set -eu
cd "$(dirname "$0")/.."
venv=.venv-lerobot-old
stamp=$venv/.installed

if [ ! -e "$stamp" ] || [ constraints-lerobot-old.txt -nt "$stamp" ]; then
    sh scripts/make_venv.sh "${PYTHON:-python3}" "$venv"
    echo "installing LeRobot 0.3.3 in $venv"
    pip="$venv/bin/python -m pip install -q --disable-pip-version-check -c constraints-lerobot-old.txt"
    # Without what it needs for robots, simulators and viewers: data sets need the second line only, ACT the third.
    $pip --no-deps lerobot==0.3.3
    $pip datasets torch torchvision av jsonlines packaging h5py pytest tyro rich filelock
    $pip draccus einops safetensors termcolor imageio pyserial deepdiff
    touch "$stamp"
fi
# Warnings are LeRobot's and its libraries' own; no test may ask the network for anything.
PYTHONPATH=src:runtime/src HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 \
    exec "$venv/bin/python" -m pytest -o filterwarnings=default -o pythonpath=tests_lerobot \
    tests_lerobot/test_reads_v21.py tests_lerobot/test_reads_old_checkpoints.py "$@"
