"""The policy server under load: robots that ask at their own rate, first alone, then beside clients that attack it.

    python benchmarks/serving.py --minutes 10 --out benchmarks/results/serving.json

Two policies, untrained: `compact` is the preset with two cameras of 96x96 (55 kB a question), `r1pro` has the three
RGB-D cameras of BEHAVIOR-1K at full resolution (6.8 MB a question) and a ResNet-18. Server, robots and attackers are
processes of their own on one machine. Each robot compares every action of the whole run, bit for bit, with what the
policy does in process. Half of the time is quiet; in the other half attackers announce gigabytes, send garbage, pieces
without end and pings whose answers they do not read, vanish in the middle of a frame and leave handshakes open, without
a pause.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

EPISODE = 20
"""Questions between two resets; the observations repeat with each."""
SIZE = 96
HZ = {"compact": 5.0, "r1pro": 0.5}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    minutes: float = 10.0
    """For each policy; half of them quiet."""
    policies: tuple[Literal["compact", "r1pro"], ...] = ("compact", "r1pro")
    robots: int = 4
    """Clients that ask."""
    hz: float | None = None
    """Questions a second of each robot; 0 asks again at once; by default 5 of compact and 0.5 of r1pro, which leaves
    two cores time."""
    attackers: int = 1
    """Processes that attack."""
    out: Path | None = None
    """JSON file."""


def make_policy(name: str) -> Any:
    """Return the policy, the same in every process."""
    import torch

    from foreact.policy.policy import Policy
    from foreact.presets import preset
    from foreact.records import Camera, Features
    from served_policies import r1pro_policy, unit_statistics

    torch.set_num_threads(1)
    if name == "r1pro":
        return r1pro_policy()
    cameras = tuple(Camera(name=camera, height=SIZE, width=SIZE) for camera in ("overhead", "wrist"))
    joints = tuple("abcdef")
    features = Features(action_names=joints, state_names=joints, environment_names=("x", "y"), cameras=cameras)
    dims = {"action": 6, "observation.state": 6, "observation.environment_state": 2}
    statistics = {key: unit_statistics(dim) for key, dim in dims.items()}
    torch.manual_seed(0)
    return Policy(config=preset("compact").policy, features=features, statistics=statistics)


def observations(features: Any, robot: int) -> list[dict[str, Any]]:
    """Return what a robot sees in an episode."""
    rng = np.random.default_rng(robot)
    seen = []
    for _ in range(EPISODE):
        observation: dict[str, Any] = {"observation.state": rng.normal(0, 0.3, features.state_dim).astype(np.float32)}
        if features.environment_dim:
            where = rng.normal(0, 0.3, features.environment_dim)
            observation["observation.environment_state"] = where.astype(np.float32)
        for camera in features.cameras:
            size = camera.recorded_size or (camera.height, camera.width)
            observation[f"observation.images.{camera.name}"] = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
            if camera.depth_range is not None:
                observation[f"observation.depth.{camera.name}"] = rng.uniform(0.1, 9, size).astype(np.float32)
        seen.append(observation)
    return seen


@contextmanager
def serving(name: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Run the command and yield its URL and process id."""
    from foreact.policy.checkpoint import save_policy

    save_policy(folder / name, make_policy(name))
    call = [sys.executable, "-m", "foreact.cli.main", "serve", str(folder / name), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert server.stdout is not None
    found = re.search(r"ws://[\w.:]+", server.stdout.readline())
    assert found is not None
    try:
        yield found[0].rstrip(","), server.pid
    finally:
        server.terminate()
        assert server.wait() == 0


def expected(name: str, robots: int) -> list[np.ndarray]:
    """Return the actions (EPISODE, A) of each robot's episode, in process."""
    policy = make_policy(name)
    actions = []
    for robot in range(robots):
        controller = policy.make_controller()
        actions.append(np.stack([controller.act(of) for of in observations(policy.features, robot)]))
    return actions


def ask(url: str, robot: int, hz: float, right: np.ndarray, until: Any, result: Connection) -> None:
    """Ask at a fixed rate until told to stop, and check every answer."""
    from foreact_runtime.serve.client import PolicyClient

    latencies, wrong = [], 0
    with PolicyClient(url) as client:
        seen = observations(client.features, robot)
        result.send("ready")
        due = time.perf_counter()
        while not until.is_set():
            client.reset()
            for observation, action in zip(seen, right, strict=True):
                began = time.perf_counter()
                wrong += client.act(observation).tobytes() != action.tobytes()
                latencies.append(1000 * (time.perf_counter() - began))
                if until.is_set():
                    break
                if hz:
                    due = max(due + 1 / hz, time.perf_counter() - 1 / hz)
                    time.sleep(max(0.0, due - time.perf_counter()))
    result.send((latencies, wrong))


def attack(url: str, until: Any, result: Connection) -> None:
    """Attack in every way in turn, until told to stop."""
    import hostile_clients as hostile

    done: Counter[str] = Counter()
    left_open: list[Any] = []
    while not until.is_set():
        for attack in hostile.HOSTILE:
            attack(url)
            done[attack.__name__] += 1
        for connection in left_open:
            connection.close()
        left_open = hostile.half_open(url, 1000)
        done["half_open"] += 1000
    result.send(dict(done))


def memory(pid: int) -> dict[str, int]:
    """Return what a process holds and the most that it ever held [MiB]."""
    status = Path(f"/proc/{pid}/status").read_text()
    return {
        name: int(re.search(rf"{key}:\s+(\d+)", status)[1]) >> 10  # type: ignore[index]
        for name, key in (("now_mib", "VmRSS"), ("peak_mib", "VmHWM"))
    }


def phase(url: str, name: str, options: Options, right: list[np.ndarray], attackers: int, seconds: float) -> Any:
    """Run robots and attackers for a while and return the figures."""
    context = multiprocessing.get_context("spawn")
    until = context.Event()
    hz = HZ[name] if options.hz is None else options.hz
    ends, processes = [], []

    def start(target: Any, *arguments: Any) -> Connection:
        here, there = context.Pipe()
        processes.append(context.Process(target=target, args=(*arguments, until, there)))
        processes[-1].start()
        ends.append(here)
        return here

    robots = [start(ask, url, robot, hz, right[robot]) for robot in range(options.robots)]
    hostile = [start(attack, url) for _ in range(attackers)]
    for robot in robots:
        assert robot.recv() == "ready"
    began = time.perf_counter()
    time.sleep(seconds)
    until.set()
    results = [end.recv() for end in robots]
    attacks = sum((Counter(end.recv()) for end in hostile), Counter())
    taken = time.perf_counter() - began
    for process in processes:
        process.join()
    latencies = np.concatenate([of for of, _ in results])
    p50, p99 = np.percentile(latencies, (50, 99)).tolist()
    return {
        "policy": name,
        "attackers": attackers,
        "attacks": dict(attacks),
        "attacks_per_second": round(sum(attacks.values()) / taken, 1),
        "clients": options.robots,
        "requests": len(latencies),
        "wrong_actions": sum(wrong for _, wrong in results),
        "requests_per_second": round(len(latencies) / taken, 2),
        "latency_p50_ms": round(p50, 2),
        "latency_p99_ms": round(p99, 2),
        "latency_max_ms": round(float(latencies.max()), 2),
    }


def measure(name: str, options: Options) -> dict[str, Any]:
    """Serve a policy, quietly and under attack, and return the figures."""
    right = expected(name, options.robots)
    seconds = 30 * options.minutes
    phases = {}
    with tempfile.TemporaryDirectory() as folder, serving(name, Path(folder)) as (url, pid):
        phase(url, name, options, right, 0, 5.0)  # so that what is loaded with the first questions is there
        before = memory(pid)
        for title, attackers in (("quiet", 0), ("attacked", options.attackers)):
            phases[title] = {**phase(url, name, options, right, attackers, seconds), "memory": memory(pid)}
            print(name, title, json.dumps(phases[title]), flush=True)
        time.sleep(12)  # longer than the server waits for a handshake
        return {"seconds_each": seconds, "memory_before": before, **phases, "memory_after": memory(pid)}


def main() -> None:
    """Measure and write."""
    options = tyro.cli(Options, description=__doc__)
    import foreact

    content = {
        "command": "python benchmarks/serving.py",
        "options": {**asdict(options), "out": str(options.out), "hz_by_default": HZ},
        "foreact_version": foreact.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared by server, robots and attackers",
        "results": {name: measure(name, options) for name in options.policies},
    }
    print(json.dumps(content["results"], indent=2))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
