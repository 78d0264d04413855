"""What the processes of a laptop cloud, and its users' shells, are told through the environment.

Owns the variables' names, the throw-away credentials, and what must not leak from the developer's shell into a
function: a function gets a secret from Secret Manager or not at all. Which service runs where is services.py's.
"""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from emulators.ports import HOST
from emulators.processes import MARK
from schemas.topology import key_secret

PROJECT = "argo-local"
GATEWAY = "llm"
CONTACT_POLICY = "contact_policy.yaml"
"""The suite's own contact policy, but never quiet, so that a demonstration does not depend on the hour."""
OWNED = "ARGO_LAPTOP_SERVICES"
"""In local.env: the stores that the cloud started itself. Their addresses are no longer the user's own choice."""
EXTERNAL = {
    "pubsub": "PUBSUB_EMULATOR_HOST",
    "firestore": "FIRESTORE_EMULATOR_HOST",
    "graph": "NEO4J_URI",
    "redis": "REDIS_URL",
}
"""The official variables by which a shell says that a store runs already."""
_SECRET = ("NEO4J_PASSWORD", "GEMINI_API_KEY", "GOOGLE_API_KEY", "ARGO_WRITE_KEY", "MAILBOX_PASSWORD")
_REPLACED = ("GOOGLE_GEMINI_BASE_URL", "GOOGLE_CLOUD_QUOTA_PROJECT", "FIREBASE_AUTH_EMULATOR_HOST")
_RUNTIME = ("PORT", "K_SERVICE", "CLOUD_RUN_JOB", "FUNCTION_TARGET", "FUNCTION_SOURCE", "FUNCTION_SIGNATURE_TYPE")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One cloud: where it keeps its files, whose code and topology it runs, and the shell that asked for it."""

    directory: Path
    root: Path
    topology: Path
    environ: Mapping[str, str] = field(repr=False)
    google: bool = False
    schedule: bool = True
    start_seconds: float = 90.0


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Random values of one cloud, and the two that may come from outside."""

    write_key: str = field(default_factory=lambda: f"argo-{secrets.token_urlsafe(18)}", repr=False)
    smtp_user: str = "argo"
    smtp_password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    graph_password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    gemini_key: str = field(default="scripted-stand-in", repr=False)
    link_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def secret_values(self, callers: Iterable[str]) -> dict[str, str]:
        """The value of each secret of the topology; each of the model gateway's callers gets a new key of its own."""
        keys = {caller: secrets.token_urlsafe(32) for caller in callers}
        return {
            **{key_secret(GATEWAY, caller): key for caller, key in keys.items()},
            "collect-write-keys": json.dumps({self.write_key: "laptop"}),
            "llm-agent-keys": json.dumps({key: caller for caller, key in keys.items()}),
            "gemini-api-key": self.gemini_key,
            "anthropic-api-key": "none",
            "openai-api-key": "none",
            "neo4j-password": self.graph_password,
            "smtp-credentials": json.dumps({"username": self.smtp_user, "password": self.smtp_password}),
            "link-signing-keys": json.dumps({"laptop": self.link_key}),
            "webhook-secrets": "{}",
        }


def make_credentials(environ: Mapping[str, str], *, own_graph: bool) -> Credentials:
    """New random values; the graph's password is the user's when the graph is."""
    given: dict[str, str] = {}
    if environ.get("GEMINI_API_KEY"):
        given["gemini_key"] = environ["GEMINI_API_KEY"]
    if not own_graph:
        given["graph_password"] = environ.get("NEO4J_PASSWORD", "")
    return Credentials(**given)


def find_external(environ: Mapping[str, str]) -> dict[str, str]:
    """The stores that already run, by the official variable: service -> address.

    A variable that an earlier cloud's local.env has put into this shell is not the user's choice, and that store
    is gone.
    """
    owned = environ.get(OWNED, "").split()
    return {
        service: environ[variable]
        for service, variable in EXTERNAL.items()
        if environ.get(variable) and service not in owned
    }


def base_environment(settings: Settings) -> dict[str, str]:
    """The shell's environment without what a function must not see, with what every process of the cloud needs."""
    dropped = {*_SECRET, *_REPLACED, *_RUNTIME, *EXTERNAL.values(), OWNED}
    kept = {
        name: value
        for name, value in settings.environ.items()
        if name not in dropped and not name.startswith(("ARGO_PORT_", "SMTP_"))
    }
    if any(kept.get(name) for name in _PROXIES):  # loopback must not go through the developer's proxy
        for name in ("no_proxy", "NO_PROXY"):
            kept[name] = ",".join(filter(None, [kept.get(name, ""), HOST, "localhost"]))
    return kept | {
        MARK: str(settings.directory),
        "PYTHONUNBUFFERED": "1",
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "GOOGLE_APPLICATION_CREDENTIALS": str(settings.directory / "credentials.json"),
        "ARGO_CONTACT_POLICY": kept.get("ARGO_CONTACT_POLICY") or str(settings.directory / CONTACT_POLICY),
    }


def write_contact_policy(settings: Settings) -> None:
    """The laptop's contact policy, from the suite's own; nothing in a tree without one."""
    own = settings.root / "agents" / "acting" / "policy.yaml"
    if own.exists():
        policy = yaml.safe_load(own.read_text(encoding="utf-8"))
        policy["quiet_hours"] |= {"from": "00:00", "until": "00:00"}
        (settings.directory / CONTACT_POLICY).write_text(yaml.safe_dump(policy, sort_keys=False), encoding="utf-8")


def url_variable(function: str) -> str:
    """The variable that holds a function's address."""
    return f"ARGO_{function.upper().replace('-', '_')}_URL"


def render_exports(variables: Mapping[str, str]) -> str:
    """`export NAME=value` lines for any POSIX shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def read_exports(path: Path) -> dict[str, str]:
    """What `render_exports` wrote; FileNotFoundError when the cloud is not up."""
    pairs = (shlex.split(line)[1] for line in path.read_text(encoding="utf-8").splitlines() if line)
    return dict(pair.split("=", 1) for pair in pairs)


def name_owned(services: Iterable[str]) -> str:
    """The value of ARGO_LAPTOP_SERVICES."""
    return " ".join(service for service in services if service in EXTERNAL)
