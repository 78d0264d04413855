"""What one stack is told: read once from its configuration, typed, every problem at once.

Owns the keys' names, kinds and defaults; `Pulumi.yaml` publishes the same to the CLI and a test holds both together.
Names of topics, functions and the like are not here: they are the topology's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields

import pulumi

# https://cloud.google.com/api-gateway/docs/deployment-model#choosing_a_gcp_region (2026-11-20). Seoul is not among them.
API_GATEWAY_REGIONS = (
    "asia-northeast1",
    "australia-southeast1",
    "europe-west1",
    "europe-west2",
    "us-central1",
    "us-east1",
    "us-east4",
    "us-west2",
    "us-west3",
    "us-west4",
)
_DIGEST = re.compile(r"^[^@\s]+@sha256:[0-9a-f]{64}$")


class SettingsError(ValueError):
    """The stack's configuration is not usable; the message names every key, and the command that sets it."""


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """One stack. Fields without a default have to be in `Pulumi.<stack>.yaml`."""

    domain: str
    alert_email: str
    billing_account: str
    monthly_budget: int
    smtp_host: str
    neo4j_uri: str = ""
    neo4j_self_run: bool = False
    neo4j_machine: str = "e2-standard-2"
    neo4j_disk_gib: int = 50
    smtp_port: int = 587
    neo4j_username: str = "neo4j"
    neo4j_database: str = "neo4j"
    release: str = "0.1.0"
    image: str = ""
    repository: str = ""
    google_client_id: str = ""
    vertex_location: str = "global"
    default_model: str = "gemini-3.8-flash"
    geoip_file: str = ""
    public_min_instances: int = 0
    requests_per_minute_per_ip: int = 600
    api_gateway_region: str = "asia-northeast1"
    redis_node_type: str = "SHARED_CORE_NANO"
    redis_replicas: int = 0
    protect_data: bool = False
    backups: bool = False
    customer_keys: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a component is built, and what everything in it is labelled with."""

    project: str
    region: str
    stack: str

    @property
    def labels(self) -> dict[str, str]:
        """Labels by which bills and searches find what belongs together."""
        return {"app": "argo", "stack": self.stack, "managed-by": "pulumi"}


def read_settings(config: pulumi.Config) -> StackSettings:
    """The settings of the stack.

    Raises:
        SettingsError: naming every key that is missing or not usable.
    """
    values: dict[str, str | int | bool] = {}
    problems: list[str] = []
    for field in fields(StackSettings):
        try:
            value = _read_value(config, field.name, str(field.type))
        except pulumi.ConfigTypeError:
            problems.append(f"argo:{field.name} must be {field.type}, it is {config.get(field.name)!r}")
            continue
        if value is not None:
            values[field.name] = value
    required = {field.name for field in fields(StackSettings) if field.name not in vars(StackSettings)}
    missing = sorted(required - values.keys())
    problems += [f"argo:{name} is not set: pulumi config set argo:{name} VALUE" for name in missing]
    if problems:
        raise SettingsError("; ".join(problems))
    settings = StackSettings(**values)  # pyright: ignore[reportArgumentType] -- each value was read by its field's type
    problems += _find_problems(settings)
    if problems:
        raise SettingsError("; ".join(problems))
    return settings


def _read_value(config: pulumi.Config, name: str, kind: str) -> str | int | bool | None:
    if kind == "int":
        return config.get_int(name)
    if kind == "bool":
        return config.get_bool(name)
    return config.get(name)


def _find_problems(settings: StackSettings) -> Iterator[str]:
    if settings.image and not _DIGEST.match(settings.image):
        yield f"argo:image must name a digest (...@sha256:...), it is {settings.image!r}"
    if bool(settings.neo4j_uri) == settings.neo4j_self_run:
        yield "argo:neo4j_uri must be set, or argo:neo4j_self_run must be true, and not both"
    if settings.neo4j_uri and not re.match(r"^(neo4j|bolt)\+s(sc)?://", settings.neo4j_uri):
        yield f"argo:neo4j_uri must be encrypted (neo4j+s:// or bolt+s://), it is {settings.neo4j_uri!r}"
    if settings.api_gateway_region and settings.api_gateway_region not in API_GATEWAY_REGIONS:
        known = ", ".join(API_GATEWAY_REGIONS)
        yield f"argo:api_gateway_region must be empty or one of {known}, it is {settings.api_gateway_region!r}"
    if not re.match(r"^[0-9A-F]{6}(-[0-9A-F]{6}){2}$", settings.billing_account):
        yield f"argo:billing_account must look like 0A1B2C-3D4E5F-6A7B8C, it is {settings.billing_account!r}"
