"""Names that Google shapes differently from the topology: account ids, job ids, variables."""

from __future__ import annotations

from schemas.topology import account_id

__all__ = ["account_id", "dashed", "url_variable"]


def dashed(name: str) -> str:
    """The name as Cloud Run and IAM take it; they know no underscore."""
    return name.replace("_", "-")


def url_variable(function: str) -> str:
    """The variable that holds a function's address: the same as on the laptop (a test compares them)."""
    return f"ARGO_{function.upper().replace('-', '_')}_URL"


def audience_variable(function: str) -> str:
    """The variable that holds the name by which a function behind API Gateway knows itself."""
    return f"ARGO_{function.upper().replace('-', '_')}_AUDIENCE"


def function_host(function: str, domain: str) -> str:
    """The host at which the load balancer serves a function."""
    return f"{function}.{domain}"
