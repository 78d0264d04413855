"""The command line of ArcadeDB's server, from the Java and the jars inside the `arcadedb-embedded` wheel.

It speaks Bolt and openCypher, so the neo4j driver is none the wiser. Constraints are emulators.setup's.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from emulators.ports import HOST
from emulators.state import write_private

USER, DATABASE = "root", "argo"


@dataclass(frozen=True, kw_only=True)
class GraphPorts:
    """Bolt for everybody; HTTP to ask whether the server is ready, and for ArcadeDB's Studio."""

    bolt: int
    http: int


def prepare(directory: Path, ports: GraphPorts, password: str) -> list[str]:
    """Empties the data of an earlier cloud and returns the command line; the password is in a file, not in `ps`."""
    shutil.rmtree(directory, ignore_errors=True)
    for folder in ("databases", "root"):
        (directory / folder).mkdir(parents=True)
    wheel = find_wheel()
    logging = directory / "logging.properties"
    # Without it the server also keeps a log folder of its own wherever it was started from.
    write_private(logging, "handlers=java.util.logging.ConsoleHandler\n.level=INFO\n")
    settings = {
        "arcadedb.server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
        "arcadedb.bolt.host": HOST,
        "arcadedb.bolt.port": ports.bolt,
        "arcadedb.server.httpIncomingHost": HOST,
        "arcadedb.server.httpIncomingPort": ports.http,
        "arcadedb.server.rootPassword": password,
        "arcadedb.server.rootPath": directory / "root",
        "arcadedb.server.databaseDirectory": directory / "databases",
        "arcadedb.server.defaultDatabases": f"{DATABASE}[]",
        "java.awt.headless": "true",
        "java.util.logging.config.file": logging,
    }
    options = [
        *("-Xmx1g", "-XX:+UseSerialGC"),  # two cores, one graph: the parallel collectors only cost memory
        *("--add-modules", "jdk.incubator.vector"),  # jvector warns on stderr without it
        *("-cp", f"{wheel}/jars/*"),
        *(f"-D{name}={value}" for name, value in settings.items()),
    ]
    arguments = directory / "arguments"
    write_private(arguments, "".join(f"{_quote(option)}\n" for option in options))
    return [str(wheel / "jre" / "bin" / "java"), f"@{arguments}", "com.arcadedb.server.ArcadeDBServer"]


def find_wheel() -> Path:
    """Where arcadedb-embedded is installed; located, not imported: importing it starts a JVM."""
    spec = importlib.util.find_spec("arcadedb_embedded")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("arcadedb-embedded is not installed: run `make setup`")
    return Path(spec.origin).parent


def _quote(option: str) -> str:
    """One line of a Java argument file: https://docs.oracle.com/en/java/javase/21/docs/specs/man/java.html."""
    escaped = option.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
