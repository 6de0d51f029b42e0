#!/bin/sh
# What `python -m benchmarks.gpu` needs on a machine that has PyTorch 2 for Python 3.12 with torchvision, NumPy,
# safetensors and huggingface_hub, but no network: wheels in .gpu-wheels/, to be installed there with
#     python3 -m pip install --no-index --no-deps --target carried .gpu-wheels/*.whl
#     PYTHONPATH=carried:src:runtime/src:benchmarks python3 -m benchmarks.gpu --out gpu.json
set -eu
cd "$(dirname "$0")/.."
sh scripts/lerobot_environment.sh
rm -rf .gpu-wheels
mkdir .gpu-wheels
.venv-lerobot/bin/python -m pip freeze --exclude-editable >.gpu-wheels/pins.txt
.venv-lerobot/bin/python -m pip download --quiet --no-deps --only-binary :all: -c .gpu-wheels/pins.txt -d .gpu-wheels \
    av datasets deepdiff dill docstring-parser draccus Farama-Notifications gymnasium lerobot mergedeep multiprocess \
    orderly-set pydantic pydantic-core pydot pyserial pytz typing-inspection tyro
du -sh .gpu-wheels
