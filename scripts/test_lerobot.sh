#!/bin/sh
# LeRobot itself reads what we write, we read what it writes, it trains on our data, and it trains and runs our policy.
set -eu
cd "$(dirname "$0")/.."
sh scripts/lerobot_environment.sh
# Warnings are LeRobot's and its libraries' own; no test may ask the network for anything.
PYTHONPATH=src:runtime/src HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_MODE=disabled \
    exec .venv-lerobot/bin/python -m pytest -o filterwarnings=default \
    -o 'pythonpath=tests_lerobot benchmarks' tests_lerobot "$@"
