"""`python -m emulators.demo`: the main job on real data, from an empty laptop cloud to a report; then all is stopped."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from emulators.cloud import CloudError, LaptopCloud
from emulators.demo.clients import Outside, StageError
from emulators.demo.report import print_report, write_html, write_json
from emulators.demo.stages import STAGES, Stage


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 when every stage reached its goal, 1 when one did not, 130 after Ctrl-C."""
    parsed = _build_parser().parse_args(arguments)
    console = Console(highlight=False)
    parsed.dir.mkdir(parents=True, exist_ok=True)
    for name in ("demo.json", "demo.html"):
        (parsed.dir / name).unlink(missing_ok=True)
    try:
        report = run_demo(parsed.dir, console, google=parsed.google)
    except CloudError as error:
        return _fail(console, "start", str(error), "do what the last line says or read the named log, then: make demo")
    except StageFailure as failure:
        return _fail(console, failure.stage, failure.error.reason, failure.error.fix)
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return 130
    write_json(report, parsed.dir / "demo.json")
    write_html(report, parsed.dir / "demo.html")
    print_report(report, console)
    console.print(f"written: {parsed.dir / 'demo.json'}, {parsed.dir / 'demo.html'}")
    return 0


class StageFailure(Exception):
    """Which stage failed, with its error."""

    def __init__(self, stage: str, error: StageError) -> None:
        super().__init__(stage)
        self.stage = stage
        self.error = error


def run_demo(directory: Path, console: Console, *, google: bool) -> dict[str, Any]:
    """A cloud of its own in `directory`/demo, so that `make up`'s is not touched and every run starts clean."""
    report: dict[str, Any] = {"seconds": {}}
    with console.status("starting the laptop cloud") as status:
        started = time.monotonic()

        def show(name: str, seconds: float) -> None:
            status.update(f"starting the laptop cloud: {name} ready after {seconds:.1f} s")

        with LaptopCloud(directory / "demo", google=google, on_progress=show) as cloud:
            _note(report, console, "start", started, "the laptop cloud is up")
            outside = Outside(cloud=cloud)
            try:
                for name, stage in STAGES.items():
                    title = (stage.__doc__ or name).rstrip(".")
                    outside.tell = lambda words, title=title: status.update(f"{title}: {words}")
                    status.update(title)
                    started = time.monotonic()
                    run_stage(name, stage, outside, report)
                    _note(report, console, name, started, title)
            finally:
                outside.close()
            status.update("stopping the laptop cloud")
    return report


def run_stage(name: str, stage: Stage, outside: Outside, report: dict[str, Any]) -> None:
    """One stage; whatever goes wrong in it ends as a StageFailure that names it."""
    try:
        stage(outside, report)
    except StageError as error:
        raise StageFailure(name, error) from error
    except Exception as error:  # a client's error of any kind is this stage's failure
        reason = f"{type(error).__name__}: {error}"
        raise StageFailure(name, StageError(reason, f"look into {outside.cloud.directory}/logs")) from error


def _note(report: dict[str, Any], console: Console, name: str, started: float, title: str) -> None:
    report["seconds"][name] = round(time.monotonic() - started, 2)
    console.print(f"  {report['seconds'][name]:6.1f} s  [bold]{name:<10}[/] {title}")


def _fail(console: Console, stage: str, reason: str, fix: str) -> int:
    console.print(f"[bold red]stage {stage} failed[/]")
    console.print(f"why: {reason}\nfix: {fix}", markup=False)
    return 1


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emulators.demo", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("build"), help="where demo.json and demo.html go (build)")
    parser.add_argument("--google", action="store_true", help="take Google's own emulators where they are found")
    return parser


if __name__ == "__main__":
    sys.exit(main())
