"""What training stage 1 costs: `make bench NAME=training` (build/bench/training.json).

1. ALS against the library `implicit` called directly: the same matrix and settings, by turns in one process.
2. A whole nightly run (settings chosen, everything fitted, candidates ranked) at 1, 4 and 16 times the events, each in a process
   of its own: seconds and the largest memory. People grow with the events, as in a shop that grows; products stay.

Constructed events: tastes, a few popular products, visits over a year. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from agents.recommender.training.events import Events
from agents.recommender.training.factors import AlsSettings, fit_als
from agents.recommender.training.matrices import weigh_pairs
from agents.recommender.training.run import train
from tests.benchmarks.reports import write_report

REPORT = Path("build/bench/training.json")
EVENTS, EVENTS_PER_PERSON, PRODUCTS, TASTES = 25_000, 20, 3_000, 30
SCALES = (1, 4, 16)
ROUNDS = 5
LEAST_SPEED = 0.9  # of implicit's own
MOST_GROWTH = 1.0  # of the cost of an event from one size to the next; the first holds what every process costs


def main() -> int:
    """Measure, print, write; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, help="one run at this many times the events, measured in this process")
    scale: int | None = parser.parse_args().scale
    if scale:
        print(json.dumps(measure_run(scale)))
        return 0
    speed = compare_als()
    print(
        f"ALS: {speed['ours_seconds']:.2f} s, implicit {speed['implicit_seconds']:.2f} s: {speed['speed']:.2f} of its speed"
    )
    runs = [_measure_apart(scale) for scale in SCALES]
    for run in runs:
        print(f"{run['events']:>9,} events, {run['people']:,} people: {run['seconds']:.0f} s, {run['peak_mb']:.0f} MB")
    growth = {
        figure: max(
            later[figure] / earlier[figure] / (later["events"] / earlier["events"])
            for earlier, later in itertools.pairwise(runs)
        )
        for figure in ("seconds", "peak_mb")
    }
    write_report(REPORT, {"als": speed, "runs": runs, "growth_per_event": growth})
    print(
        f"cost of an event against that at the size before: seconds {growth['seconds']:.2f}, memory {growth['peak_mb']:.2f}"
    )
    print(f"written to {REPORT}")
    return 0 if speed["speed"] >= LEAST_SPEED and max(growth.values()) <= MOST_GROWTH else 1


def compare_als() -> dict[str, float]:
    """Median seconds of ours and of implicit's ALS on one matrix, fitted by turns."""
    matrix, settings = weigh_pairs(make_events(16)), AlsSettings()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        fit_als(matrix, settings)
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        _fit_directly(matrix, settings)
        theirs.append(time.perf_counter() - started)
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "ours_seconds": mine,
        "implicit_seconds": other,
        "speed": other / mine,
        "rounds": ROUNDS,
        "pairs": matrix.nnz,
    }


def measure_run(scale: int) -> dict[str, float]:
    """One nightly run in this process."""
    events = make_events(scale)
    started = time.perf_counter()
    outcome = train(events, datetime.now(UTC), 0)
    seconds = time.perf_counter() - started
    if not outcome.run.accepted:
        raise SystemExit(f"the run was refused: {outcome.run.reason}")
    return {
        "events": len(events),
        "people": events.shape[0],
        "products": events.shape[1],
        "candidates": len(outcome.candidates),
        "seconds": round(seconds, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),  # KiB on Linux
    }


def make_events(scale: int) -> Events:
    """`scale` times EVENTS: a person has a taste of a hundred products and buys what is popular otherwise."""
    draw = np.random.default_rng(20261120)
    count, people = EVENTS * scale, EVENTS * scale // EVENTS_PER_PERSON
    users = np.sort(draw.integers(0, people, count))
    tastes = users % TASTES
    own = tastes * (PRODUCTS // TASTES) + (draw.zipf(1.3, count) % (PRODUCTS // TASTES))
    items = np.where(draw.random(count) < 0.7, own, draw.zipf(1.2, count) % PRODUCTS)
    days = draw.uniform(0, 365, count)
    order = np.argsort(days, kind="stable")
    return Events(
        user_ids=[f"u{number}" for number in range(people)],
        item_ids=[f"p{number}" for number in range(PRODUCTS)],
        users=users[order].astype(np.int32),
        items=items[order].astype(np.int32),
        kinds=draw.choice(3, count, p=(0.8, 0.1, 0.1)).astype(np.int8),
        quantities=np.ones(count, np.float32),
        days=days[order],
        sessions=np.unique(users[order] * 400 + days[order].astype(int), return_inverse=True)[1].astype(np.int32),
        categories=np.full(PRODUCTS, -1, np.int32),
    )


def _measure_apart(scale: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.training", "--scale", str(scale)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _fit_directly(matrix: object, settings: AlsSettings) -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # as implicit's own warning asks for
        AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.regularisation,
            alpha=settings.alpha,
            iterations=settings.iterations,
        ).fit(matrix, show_progress=False)


if __name__ == "__main__":
    sys.exit(main())
