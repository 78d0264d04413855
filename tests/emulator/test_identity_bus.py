"""Nobody speaks for another on the real bus: seals by the identity stand-in, checked by the agents, refusals on record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from google.auth.exceptions import RefreshError

from agents.tools.identity import fetch_token
from agents.tools.seals import GoogleSeals
from emulators.cloud import LaptopCloud
from schemas.messages import AgentMessage, Kind
from tests.emulator.cloud import cloud
from tests.emulator.test_swarm import Outside, outside, wait_for

__all__ = ["cloud", "outside"]
KEPT = "SELECT attributes FROM argo.dead_letters WHERE CONTAINS_SUBSTR(TO_JSON_STRING(data), @m)"
TOLD = "SELECT payload FROM argo.agent_messages WHERE action = 'message_refused' AND correlationId = @m"


@pytest.fixture
def seals(cloud: LaptopCloud, monkeypatch: pytest.MonkeyPatch) -> GoogleSeals:
    """What the account of the agent that writes can seal."""
    account = cloud.directory / "accounts" / "agent-creative-content.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
    return GoogleSeals()


def _message(**changes: Any) -> AgentMessage:
    values: dict[str, Any] = {
        "task_id": uuid4().hex,
        "parent_task_id": uuid4().hex,
        "correlation_id": uuid4().hex,
        "source_agent": "MasterOrchestratorAgent",
        "target_agent": "UserContextAgent",
        "action": "summarise",
        "kind": Kind.REQUEST,
        "payload": {"userId": "u1", "moment": {"momentId": "m", "kind": "k"}},
        "timestamp": datetime.now(UTC),
        **changes,
    }
    return AgentMessage(**values)


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_request_in_anothers_name_is_refused_and_recorded(
    outside: Outside, seals: GoogleSeals, is_sealed: bool
) -> None:
    """Prevents: an agent that has others work for it by calling itself the orchestrator."""
    message = _message()
    data = msgspec.json.encode(message)
    attributes = message.attributes() | (seals.seal(data) if is_sealed else {})
    path = outside.publisher.topic_path("argo-local", "agent-tasks")
    outside.publisher.publish(path, data, **attributes).result(20)
    reason = "fn-agent-creative-content@argo-local.iam.gserviceaccount.com sent it" if is_sealed else "carries no seal"
    wait_for(
        lambda: any(reason in str(row["attributes"]) for row in outside.select(KEPT, m=message.task_id)),
        "the dead letter",
    )
    wait_for(lambda: outside.select(TOLD, m=message.correlation_id), "the refusal in the timeline")
    answers = "SELECT taskId FROM argo.agent_messages WHERE taskId = @m AND kind = 'response'"
    assert not outside.select(answers, m=message.task_id)


def test_an_approval_of_ones_own_words_is_refused(outside: Outside, seals: GoogleSeals) -> None:
    """Prevents: an email that goes out because its writer said that the guardian had approved it."""
    message = _message(
        source_agent="SecurityGuardianAgent",
        target_agent="MasterOrchestratorAgent",
        action="review",
        kind=Kind.RESPONSE,
        payload={"status": "COMPLETED", "output": {"approved": True}},
    )
    data = msgspec.json.encode(message)
    path = outside.publisher.topic_path("argo-local", "agent-results")
    outside.publisher.publish(path, data, **message.attributes(), **seals.seal(data)).result(20)
    wait_for(lambda: outside.select(TOLD, m=message.correlation_id), "the refusal in the timeline")


def test_an_account_cannot_get_anothers_token(
    cloud: LaptopCloud, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Prevents: a laptop on which the identity check passes for everybody, so that nobody sees it fail."""
    own = msgspec.json.decode((cloud.directory / "accounts" / "agent-creative-content.json").read_bytes())
    forged = tmp_path_factory.mktemp("forged") / "account.json"
    other = "fn-orchestrate@argo-local.iam.gserviceaccount.com"
    forged.write_bytes(msgspec.json.encode({**own, "client_email": other}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(forged))
    with pytest.raises(RefreshError, match="has not signed"):
        fetch_token("argo-bus:x")
