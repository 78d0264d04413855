"""The laptop cloud's command line: `python -m emulators up | run | down | status | job NAME | logs NAME | trace [TASK]`.

Owns words and exit codes. What runs is plan.py's, how it is kept running supervisor.py's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from emulators.cloud import (
    CloudError,
    await_ready,
    job_command,
    job_environment,
    start_supervisor,
    stop_cloud,
    stop_supervisor,
)
from emulators.environment import PROJECT, Settings
from emulators.identity import make_person_token
from emulators.measures import read_measures
from emulators.ports import PortError
from emulators.services import REPOSITORY, ServicesError
from emulators.state import Phase, State, Status, log_path, read_state, tail
from emulators.supervisor import AlreadyUpError, Supervisor
from emulators.trace import show_task
from schemas import topology

NOT_UP, INTERRUPTED = 3, 130


def main(arguments: list[str] | None = None) -> int:
    """Runs one sub-command; returns its exit code."""
    parsed = _build_parser().parse_args(arguments)
    parsed.dir = parsed.dir.resolve()
    commands = {"up": run_up, "run": run_here, "down": run_down, "status": run_status}
    commands |= {"job": run_job, "logs": run_logs, "trace": run_trace, "token": run_token}
    return commands[parsed.command](parsed)


def run_up(parsed: argparse.Namespace) -> int:
    """Starts the cloud in the background and waits until it is ready."""
    state = read_state(parsed.dir)
    if state is not None and state.is_alive:
        print(f"already up in {parsed.dir}")
        print_table(state)
        return 0 if state.is_healthy else 1
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: no half cloud is left
        signal.signal(number, signal.default_int_handler)
    supervisor = start_supervisor(parsed.dir, _repeat_flags(parsed))
    try:
        state = await_ready(parsed.dir, supervisor, _print_progress)
    except CloudError as error:
        return _fail(error)
    except KeyboardInterrupt:
        stop_supervisor(parsed.dir, supervisor)
        return INTERRUPTED
    print_table(state)
    print(f"\nin any shell:  . {_shorten(parsed.dir / 'local.env')}")
    return 0


def run_here(parsed: argparse.Namespace) -> int:
    """Runs the cloud in the foreground until Ctrl-C."""
    settings = Settings(
        directory=parsed.dir,
        root=parsed.root.resolve(),
        topology=parsed.topology.resolve(),
        environ=dict(os.environ),
        google=parsed.google,
        schedule=not parsed.no_schedule,
        start_seconds=parsed.start_seconds,
    )
    supervisor = Supervisor(settings, None if parsed.quiet else _print_progress)
    try:
        code = asyncio.run(supervisor.run(parsed.parent))
    except (AlreadyUpError, PortError, ServicesError, topology.TopologyError) as error:
        return _fail(error)
    if code:
        log = log_path(parsed.dir, supervisor.state.failed)
        return _fail(f"{supervisor.state.failed} {supervisor.state.reason}; the end of {log}:\n{tail(log)}")
    return 0


def run_down(parsed: argparse.Namespace) -> int:
    """Stops the cloud; fine when there is none."""
    state = read_state(parsed.dir)
    was_up = state is not None and state.is_alive
    survivors = stop_cloud(parsed.dir)
    if survivors:
        print(f"killed what a dead supervisor had left: {', '.join(map(str, survivors))}")
    print("down" if was_up or survivors else "not up")
    return 0


def run_status(parsed: argparse.Namespace) -> int:
    """Prints the table: 0 all ready, 1 something is down, 3 not up."""
    state = read_state(parsed.dir)
    if state is None or not state.is_alive:
        last = f"; the last start failed: {state.failed} {state.reason}" if state and state.failed else ""
        print(f"not up in {parsed.dir}{last}")
        return NOT_UP
    print_table(state)
    for name, value in read_measures(parsed.dir / "logs").items():
        print(f"{name}  {value:g}")
    if state.phase is Phase.BROKEN:
        print(f"\nbroken: {state.reason}; run `make down`, then `make up`")
    for name, health in state.services.items():
        if health.status in (Status.DOWN, Status.RESTARTING):
            print(f"\n{name} {health.reason}; the end of {health.log}:\n{tail(Path(health.log))}".rstrip())
    return 0 if state.is_healthy else 1


def run_token(parsed: argparse.Namespace) -> int:
    """Prints an ID token of a person, as a client app gets one by signing in."""
    print(make_person_token(PROJECT, parsed.user))
    return 0


def run_job(parsed: argparse.Namespace) -> int:
    """Runs a job with the cloud's environment; its output goes where ours goes."""
    state = read_state(parsed.dir)
    if state is None or not state.is_alive:
        print(f"not up in {parsed.dir}: run `make up` first", file=sys.stderr)
        return NOT_UP
    environment = job_environment(state.environment, parsed.name)
    process = subprocess.Popen(job_command(parsed.name), cwd=state.root, env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:  # the terminal has told the job as well
        process.wait()
        return INTERRUPTED


def run_logs(parsed: argparse.Namespace) -> int:
    """Prints the end of a service's log."""
    log = log_path(parsed.dir, parsed.name)
    if not log.exists():
        known = ", ".join(sorted(path.stem for path in log.parent.glob("*.log"))) or "none"
        return _fail(f"no log of {parsed.name!r} in {log.parent}; there are: {known}")
    print(tail(log, parsed.lines), end="")
    return 0


def run_trace(parsed: argparse.Namespace) -> int:
    """Shows why a task did what it did."""
    return show_task(parsed.dir, parsed.task)


def print_table(state: State) -> None:
    """One line per service."""
    rows = [("SERVICE", "STATE", "ENDPOINT", "PID", "RESTARTS", "")]
    rows += [
        (name, health.status, health.endpoint or "-", str(health.pid or "-"), str(health.restarts), health.note)
        for name, health in state.services.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip())


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emulators", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument("--dir", type=Path, default=REPOSITORY / "build", help="state, logs, data (default: build)")
    starting = argparse.ArgumentParser(add_help=False)
    starting.add_argument("--google", action="store_true", help="take Google's own emulators where they are found")
    starting.add_argument("--no-schedule", action="store_true", help="do not run jobs by their cron lines")
    starting.add_argument("--topology", type=Path, default=topology.PATH, help="another topology.yaml")
    starting.add_argument("--root", type=Path, default=REPOSITORY, help="where the package `functions` is")
    starting.add_argument("--start-seconds", type=float, default=90.0, help="how long a service may take to be ready")
    commands.add_parser("up", parents=[everywhere, starting], help="start in the background, wait until ready")
    here = commands.add_parser("run", parents=[everywhere, starting], help="the same in the foreground, until Ctrl-C")
    here.add_argument("--quiet", action="store_true", help="no progress lines")
    here.add_argument("--parent", type=int, help="stop when this process has ended")
    commands.add_parser("down", parents=[everywhere], help="stop everything")
    commands.add_parser("status", parents=[everywhere], help="0 all ready, 1 something is down, 3 not up")
    commands.add_parser("job", parents=[everywhere], help="run a job now").add_argument("name")
    commands.add_parser("token", parents=[everywhere], help="an ID token of a person, for recommend").add_argument(
        "user"
    )
    logs = commands.add_parser("logs", parents=[everywhere], help="the end of a service's log")
    logs.add_argument("name")
    logs.add_argument("--lines", type=int, default=30)
    trace = commands.add_parser(
        "trace", parents=[everywhere], help="why a task did what it did; without one, the latest"
    )
    trace.add_argument("task", nargs="?", default="")
    return parser


def _repeat_flags(parsed: argparse.Namespace) -> tuple[str, ...]:
    flags = [name for name, wanted in (("--google", parsed.google), ("--no-schedule", parsed.no_schedule)) if wanted]
    flags += ["--topology", str(parsed.topology.resolve()), "--root", str(parsed.root.resolve())]
    return *flags, "--start-seconds", str(parsed.start_seconds)


def _print_progress(service: str, seconds: float) -> None:
    print(f"  {service:<24} ready in {seconds:5.1f} s", flush=True)


def _shorten(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _fail(problem: object) -> int:
    print(f"error: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
