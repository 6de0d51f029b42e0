"""LeRobot's side of the pipe: loads its own checkpoint and answers observations with chunks.

    .venv-lerobot/bin/python -P lerobot_worker.py CHECKPOINT THREADS

A message is eight bytes of length, big-endian, and that many bytes of an npz file without pickled objects. The
worker's first message says its version; each further one answers an observation. It runs in LeRobot's environment,
which has no `foreact`; `lerobot_peer.py` is the other side and shares the two functions that move messages.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Mapping
from typing import IO

import numpy as np

_LENGTH = struct.Struct(">Q")


def write_message(stream: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Send arrays by name."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


def read_message(stream: IO[bytes]) -> dict[str, np.ndarray] | None:
    """Return the arrays of the next message, or None where the other side has closed the pipe."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = stream.read(length)
    if len(content) < length:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def main(checkpoint: str, threads: int) -> None:
    """Answer until the pipe closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    import lerobot
    import torch
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors

    torch.set_num_threads(threads)
    policy = ACTPolicy.from_pretrained(checkpoint).to("cpu").eval()
    device = {"device_processor": {"device": "cpu"}}
    before, after = make_pre_post_processors(policy.config, checkpoint, preprocessor_overrides=device)
    parameters = sum(parameter.numel() for parameter in policy.parameters())
    write_message(
        answers,
        {
            "version": np.array(lerobot.__version__),
            "n_action_steps": np.array(policy.config.n_action_steps),
            "parameters": np.array(parameters),
        },
    )
    while (message := read_message(sys.stdin.buffer)) is not None:
        observation = {name: torch.from_numpy(array) for name, array in message.items()}
        for name, tensor in observation.items():
            if tensor.dtype == torch.uint8:  # (B, H, W, C) pictures: LeRobot wants channels first, in [0, 1]
                observation[name] = tensor.permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            chunk = after(policy.predict_action_chunk(before(observation)))
        write_message(answers, {"chunk": chunk.numpy()})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
