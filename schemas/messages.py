"""Messages that are not rows: what agents say to each other, profile updates, and the blackboard's keys.

Owns the envelope and the derivation of ids. Deliberately knows no broker and no store.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Meta

NAMESPACE = UUID("5b1f1f5e-6c57-4b4c-9d0a-2f8a7f0c7a10")  # ARGO's own; changing it would double every task in flight

Json = dict[str, Any]  # a payload at the JSON border; its reader turns it into a type at once


class Kind(StrEnum):
    """What a message is for."""

    REQUEST = "request"
    RESPONSE = "response"
    EVENT = "event"
    COMMAND = "command"


class Status(StrEnum):
    """Where a task stands (blackboard, agents' answers)."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class AgentMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One message on the bus. `taskId` is the step's id, `parentTaskId` the task's, `correlationId` the moment's."""

    task_id: Annotated[str, Meta(min_length=1)]
    source_agent: Annotated[str, Meta(pattern="^[A-Z][A-Za-z]+Agent$")]
    target_agent: Annotated[str, Meta(pattern="^[A-Z][A-Za-z]+Agent$")]
    action: Annotated[str, Meta(min_length=1)]
    payload: Json
    timestamp: Annotated[datetime, Meta(tz=True)]
    kind: Kind
    correlation_id: Annotated[str, Meta(min_length=1)]
    parent_task_id: str | None = None
    deadline: Annotated[datetime, Meta(tz=True)] | None = None

    def attributes(self) -> dict[str, str]:
        """What subscriptions filter by."""
        return {
            "targetAgent": self.target_agent,
            "sourceAgent": self.source_agent,
            "action": self.action,
            "kind": self.kind.value,
            "taskId": self.task_id,
        }


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What model calls have cost: tokens in and out, and US dollars by the registry's prices."""

    tokens: Annotated[int, Meta(ge=0)] = 0
    usd: Annotated[float, Meta(ge=0)] = 0.0


class StepResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of a response: COMPLETED with `output`, or FAILED with `reason`; `retryable`: a later try may succeed."""

    status: Status
    output: Json = {}
    reason: str = ""
    retryable: bool = False
    spent: Spent = Spent()


class ProfileUpdate(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What one event tells about one person. Each field keeps its latest value by `at`, whatever the order."""

    user_id: Annotated[str, Meta(min_length=1)]
    event_id: Annotated[str, Meta(min_length=1)]
    at: Annotated[datetime, Meta(tz=True)]
    fields: Annotated[Json, Meta(description="Field name -> value, such as email, language, lastOrder")]


def derive_id(*parts: str) -> str:
    """The id that the same parts always give (uuid5), so that a replay is the same work."""
    return str(uuid5(NAMESPACE, "\x1f".join(parts)))


def fit_attribute(text: str) -> str:
    """A text cut to what a Pub/Sub attribute may hold: 1,024 bytes (https://cloud.google.com/pubsub/quotas#resource_limits)."""
    return text.encode()[:1024].decode(errors="ignore")


def status_key(task_id: str) -> str:
    """Blackboard: the Status of a task."""
    return f"task:{task_id}:status"


def result_key(task_id: str, agent: str) -> str:
    """Blackboard: the StepResult (JSON) of an agent for a task."""
    return f"task:{task_id}:results:{agent}"


def context_key(user_id: str) -> str:
    """Blackboard: the cached context summary (JSON) of a person."""
    return f"user:{user_id}:context_summary"


def facts_key(task_id: str) -> str:
    """Blackboard: all that is known of a task, as a hash of facts that are set once (`agents.swarm.progress`)."""
    return f"task:{task_id}:facts"
