"""Everything a process is told from outside: one frozen object, read once. The only reader of the environment.

A laptop differs from the cloud by the official emulator variables, which Google's clients read themselves, and by the
endpoints below. Secrets are not here: they come from Secret Manager (`agents.tools.secrets`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

import msgspec


class SettingsError(ValueError):
    """The environment is not usable; the message names every variable, its value and the fix."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The process's surroundings. Empty text means: not configured, and the tool that needs it says so."""

    project: str
    service: str
    neo4j_uri: str = ""
    neo4j_username: str = "neo4j"
    neo4j_database: str = "neo4j"
    redis_url: str = ""
    smtp_host: str = ""
    smtp_port: int = 587
    collect_url: str = ""
    message_links: str = ""
    contact_policy: str = ""
    llm_url: str = ""
    llm_audience: str = ""
    secret_manager_endpoint: str = ""
    bigquery_storage_endpoint: str = ""
    identity_certs_url: str = "https://www.googleapis.com/oauth2/v1/certs"
    firebase_auth_emulator_host: str = ""
    audience: str = ""
    trusted_callers: str = ""
    vertex_location: str = "global"
    default_model: str = "gemini-3.8-flash"
    behind_load_balancer: bool = False
    geoip_file: str = ""


_VARIABLES = {
    "project": "GOOGLE_CLOUD_PROJECT",
    "service": "K_SERVICE",
    "neo4j_uri": "NEO4J_URI",
    "neo4j_username": "NEO4J_USERNAME",
    "neo4j_database": "NEO4J_DATABASE",
    "redis_url": "REDIS_URL",
    "smtp_host": "SMTP_HOST",
    "smtp_port": "SMTP_PORT",
    "collect_url": "ARGO_COLLECT_URL",
    "message_links": "ARGO_MESSAGE_LINKS",
    "contact_policy": "ARGO_CONTACT_POLICY",
    "llm_url": "ARGO_LLM_URL",
    "llm_audience": "ARGO_LLM_AUDIENCE",
    "secret_manager_endpoint": "SECRET_MANAGER_ENDPOINT",
    "bigquery_storage_endpoint": "BIGQUERY_STORAGE_ENDPOINT",
    "identity_certs_url": "ARGO_IDENTITY_CERTS_URL",
    "firebase_auth_emulator_host": "FIREBASE_AUTH_EMULATOR_HOST",
    "audience": "ARGO_AUDIENCE",
    "trusted_callers": "ARGO_TRUSTED_CALLERS",
    "vertex_location": "GOOGLE_CLOUD_LOCATION",
    "default_model": "ARGO_DEFAULT_MODEL",
    "behind_load_balancer": "ARGO_BEHIND_LOAD_BALANCER",
    "geoip_file": "ARGO_GEOIP_FILE",
}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Build settings from variables.

    Raises:
        SettingsError: naming every missing or unusable variable at once.
    """
    values = {field: environment[name] for field, name in _VARIABLES.items() if environment.get(name)}
    # A Cloud Run job is told its name by another variable than a service
    # (https://cloud.google.com/run/docs/container-contract#jobs-env-vars).
    values.setdefault("service", environment.get("CLOUD_RUN_JOB", ""))
    problems = [f"{_VARIABLES[field]} is not set" for field in ("project", "service") if not values.get(field)]
    port = values.get("smtp_port", "587")
    if not port.isdigit():
        problems.append(f"SMTP_PORT is {port!r}; it must be a number")
    behind = values.get("behind_load_balancer", "false")
    if behind not in ("true", "false"):
        problems.append(f"ARGO_BEHIND_LOAD_BALANCER is {behind!r}; it must be true or false")
    if problems:
        raise SettingsError("; ".join(problems))
    return msgspec.convert(values, Settings, strict=False)


@cache
def settings() -> Settings:
    """The settings of this process."""
    return read_settings(os.environ)


def require(value: str, variable: str) -> str:
    """The value, or SettingsError naming the variable that this process needs."""
    if not value:
        raise SettingsError(f"{variable} is not set; {settings().service} needs it")
    return value
