"""What ingest carries, and in how much memory: 100 MB and 1 GB of NDJSON through one process. `make bench NAME=feeds`.

On the laptop cloud, from the object's notification to Pub/Sub's acknowledgement of its last row. The topics have no
subscriptions here: what drains them (BigQuery's emulator above all) would share the two cores and be measured instead.
Peak resident memory is the kernel's own figure for the process, reset before each file. Writes build/bench/feeds.json.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil
import yaml
from google.cloud import firestore, storage

from emulators.cloud import LaptopCloud
from schemas import topology
from schemas.topology import bucket_id
from tests.benchmarks.reports import say, write_report

REPORT = Path("build/bench/feeds.json")
TARGET_MB = 300
SIZES_MB = (100, 1000)
LOOK_SECONDS = 0.2
LIMIT_SECONDS = 3000.0
_EVENTS = ("Product Viewed", "Product Added", "Order Completed", "Product List Viewed")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One file. `peak_mb` is the process's resident memory at most."""

    file_mb: float
    rows: int
    seconds: float
    rows_per_second: int
    mb_per_second: float
    peak_mb: float
    refused: int


def write_events(path: Path, size_bytes: int, seed: int) -> int:
    """A file of events as an SDK's archive has them, about 700 bytes each; returns how many. The same seed, the same file."""
    draw = random.Random(seed)
    written = count = 0
    with path.open("wb") as file:
        while written < size_bytes:
            line = json.dumps(make_event(draw, f"{seed}-{count}")).encode() + b"\n"
            written += file.write(line)
            count += 1
    return count


def make_event(draw: random.Random, message_id: str) -> dict[str, Any]:
    """One event of one of 50,000 people, every second of them known."""
    person, product = draw.randrange(50_000), draw.randrange(4_000)
    return {
        "type": "track",
        "event": draw.choice(_EVENTS),
        "messageId": message_id,
        "anonymousId": f"device-{person}",
        **({"userId": f"user-{person}"} if person % 2 else {}),
        "timestamp": f"2026-10-{draw.randrange(1, 31):02}T{draw.randrange(24):02}:{draw.randrange(60):02}:00.000Z",
        "properties": {
            "product_id": f"sku-{product}",
            "name": f"Lantern number {product} in a box of {draw.randrange(1, 12)}",
            "category": draw.choice(("home", "garden", "toys", "kitchen")),
            "price": draw.randrange(100, 20_000) / 100,
            "quantity": draw.randrange(1, 9),
            "currency": "GBP",
        },
        "context": {
            "library": {"name": "analytics.js", "version": "2.11.1"},
            "page": {
                "path": f"/products/{product}",
                "url": f"https://shop.example/products/{product}",
                "title": "Lanterns",
            },
            "userAgent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36",
            "locale": draw.choice(("en-GB", "de-DE", "ko-KR")),
        },
    }


def write_topology(path: Path) -> None:
    """The suite's own topology with ingest alone, and no subscription but the notifications'."""
    whole = topology.load()
    alone = msgspec.structs.replace(
        whole,
        functions=[msgspec.structs.replace(whole.function("ingest"), calls=[])],
        subscriptions=[one for one in whole.subscriptions if one.push and one.push.function == "ingest"],
        clients=[],
        secrets=[],
        jobs=[],
        agents=[],
    )
    path.write_text(yaml.safe_dump(msgspec.to_builtins(alone)), encoding="utf-8")


@contextmanager
def run_cloud() -> Generator[tuple[LaptopCloud, Path]]:
    """The cloud, and a folder for files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_topology(folder / "topology.yaml")
        with LaptopCloud(folder / "cloud", flags=("--topology", str(folder / "topology.yaml"))) as cloud:
            os.environ.update(cloud.env)
            yield cloud, folder


def ingest_file(cloud: LaptopCloud, path: Path, rows: int) -> Run:
    """Upload, and wait until the last row is acknowledged."""
    project = cloud.env["GOOGLE_CLOUD_PROJECT"]
    name = f"events/{path.name}"
    pid = cloud.health("ingest").pid
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
    blob = storage.Client(project=project).bucket(bucket_id(project, "landing")).blob(name)
    blob.upload_from_filename(path, timeout=600)
    began = time.monotonic()
    files = firestore.Client(project=project).collection("files")
    done: dict[str, Any] = {}
    while not done.get("isDone"):
        if time.monotonic() - began > LIMIT_SECONDS:
            raise TimeoutError(f"{name} is not done: {done}\n{cloud.log_tail('ingest')}")
        time.sleep(LOOK_SECONDS)
        found = files.where(filter=firestore.FieldFilter("name", "==", name)).get()
        done = next((document.to_dict() or {} for document in found), {})
    seconds = time.monotonic() - began
    if cloud.health("ingest").pid != pid or done["checkpoint"]["accepted"] != rows:
        raise RuntimeError(f"{name}: {rows} rows were sent, this came of it: {done}")
    blob.delete()
    return Run(
        file_mb=round(path.stat().st_size / 1e6, 1),
        rows=rows,
        seconds=round(seconds, 1),
        rows_per_second=round(rows / seconds),
        mb_per_second=round(path.stat().st_size / 1e6 / seconds, 2),
        peak_mb=round(read_peak(pid), 1),
        refused=done["checkpoint"]["refused"],
    )


def read_peak(pid: int) -> float:
    """The process's resident memory at most since it was last reset, in MB (VmHWM: proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def run_benchmark(sizes_mb: list[int]) -> dict[str, Any]:
    """Every size in turn, through the same process."""
    runs: list[Run] = []
    with run_cloud() as (cloud, folder):
        idle_mb = psutil.Process(cloud.health("ingest").pid).memory_info().rss / 1e6
        for number, size in enumerate(sizes_mb):
            path = folder / f"{size}mb.ndjson"
            say(f"{size} MB: writing the file")
            rows = write_events(path, size * 1_000_000, number)
            say(f"{size} MB: {rows:,} rows through ingest")
            runs.append(ingest_file(cloud, path, rows))
            say(f"{size} MB: {runs[-1].rows_per_second:,} rows/s, at most {runs[-1].peak_mb} MB")
            path.unlink()
    return {
        "target_peak_mb": TARGET_MB,
        "idle_mb": round(idle_mb, 1),
        "runs": [asdict(run) for run in runs],
        "peak_of_largest_to_smallest": round(runs[-1].peak_mb / runs[0].peak_mb, 3),
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg()},
    }


def main() -> None:
    """Run, show, write; 1 when the memory is over its target."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.feeds", description=__doc__)
    parser.add_argument("--sizes-mb", type=int, nargs="+", default=list(SIZES_MB))
    report = run_benchmark(parser.parse_args().sizes_mb)
    write_report(REPORT, report)
    for run in report["runs"]:
        print(
            f"{run['file_mb']:>7,.0f} MB, {run['rows']:>9,} rows: {run['rows_per_second']:,} rows/s"
            f" ({run['mb_per_second']} MB/s), memory at most {run['peak_mb']} MB (target {TARGET_MB})"
        )
    ratio = report["peak_of_largest_to_smallest"]
    print(
        f"memory, largest file to smallest: {ratio}; the idle process has {report['idle_mb']} MB; written to {REPORT}"
    )
    sys.exit(any(run["peak_mb"] > TARGET_MB for run in report["runs"]))


if __name__ == "__main__":
    main()
