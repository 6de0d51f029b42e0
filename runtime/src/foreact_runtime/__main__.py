"""`python -m foreact_runtime BUNDLE`: whether a bundle computes what it should on this machine, and how fast."""

from __future__ import annotations

import argparse
import sys
import time


def main(arguments: list[str] | None = None) -> int:
    """Check and measure a bundle; return 0, or 1 where it is not what it should be."""
    begun = time.perf_counter()  # before the imports, which a robot waits for too
    import numpy as np

    from foreact_runtime import __version__
    from foreact_runtime.backend import BACKENDS
    from foreact_runtime.bundle import read_check
    from foreact_runtime.errors import ForeactError
    from foreact_runtime.policy import load_policy

    parser = argparse.ArgumentParser("foreact_runtime", description=__doc__)
    parser.add_argument("bundle", help="what foreact export wrote")
    parser.add_argument("--backend", choices=BACKENDS, help="another than the bundle was exported for")
    parser.add_argument("--threads", type=int, help="cores to compute on")
    parser.add_argument("--runs", type=int, default=50, help="chunks to measure")
    parser.add_argument("--version", action="version", version=__version__)
    options = parser.parse_args(arguments)
    try:
        policy = load_policy(options.bundle, backend=options.backend, threads=options.threads)
        observations, _ = read_check(policy.bundle)
        policy.act(observations[0])
        first = time.perf_counter() - begun
        error = policy.self_check()
        spent = []
        for run in range(max(1, options.runs)):
            started = time.perf_counter()
            policy.predict_chunk(observations[run % len(observations)])
            spent.append(1000 * (time.perf_counter() - started))
    except ForeactError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    bundle, settings = policy.bundle, policy.executor_settings
    every = settings.n_action_steps / policy.features.fps * 1000
    print(f"{bundle.path}: {bundle.format}, {bundle.precision}, chunks of {settings.chunk_size} actions")
    print(f"self-check: differs by {error:.1e} of a normalised unit on {len(observations)} frames: as exported")
    print(f"first action {first:.2f} s after the start, with the library's import")
    p50, p99 = np.percentile(spent, [50, 99])
    print(
        f"a chunk: {np.mean(spent):.1f} ms, p50 {p50:.1f}, p99 {p99:.1f}, {len(spent)} runs; due every {every:.0f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
