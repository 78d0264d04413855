"""Names that Google shapes differently from the topology: account ids, job ids, variables."""

from __future__ import annotations

import hashlib

ACCOUNT_ID_MAX = 30  # https://cloud.google.com/iam/docs/service-accounts-create: 6 to 30 characters


def account_id(prefix: str, name: str) -> str:
    """The id of a service account: readable, and cut with a hash of the whole where Google's limit asks for it."""
    wanted = f"{prefix}-{dashed(name)}"
    if len(wanted) <= ACCOUNT_ID_MAX:
        return wanted
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:6]
    return f"{wanted[: ACCOUNT_ID_MAX - 7].rstrip('-')}-{digest}"


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
