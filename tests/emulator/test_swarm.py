"""The swarm on the laptop cloud: from a moment on its topic to an email in the mailbox, over the real bus and stores."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import msgspec
import pytest
import redis
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, firestore, pubsub_v1

from agents.tools.profiles import document_id
from emulators.cloud import LaptopCloud
from emulators.environment import PROJECT
from schemas import rows
from schemas.messages import Json, ProfileUpdate, context_key, derive_id, result_key, status_key
from tests.emulator.cloud import cloud

__all__ = ["cloud"]
Found = TypeVar("Found")
LOOK_SECONDS = 0.2
WAIT_SECONDS = 60.0  # a task takes two or three seconds; the machine may be busy with others
STORES = ("PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST")


@dataclass(kw_only=True)
class Outside:
    """The cloud as its clients see it."""

    cloud: LaptopCloud
    http: httpx.Client
    publisher: pubsub_v1.PublisherClient
    warehouse: bigquery.Client
    profiles: firestore.Client
    blackboard: redis.Redis

    def send(self, *events: Json) -> None:
        """Client events through collect."""
        sent = {"batch": list(events), "writeKey": self.cloud.env["ARGO_WRITE_KEY"]}
        self.http.post(f"{self.cloud.env['ARGO_COLLECT_URL']}/v1/batch", json=sent).raise_for_status()

    def publish(self, topic: str, *bodies: bytes) -> None:
        """Messages straight onto a topic."""
        path = f"projects/{PROJECT}/topics/{topic}"
        for future in [self.publisher.publish(path, body) for body in bodies]:
            future.result(20)

    def mails(self, address: str) -> list[Json]:
        """What somebody has in the mailbox."""
        found = self.http.get(f"{self.cloud.env['ARGO_MAILBOX_URL']}/messages").json()
        mails: list[Json] = found if isinstance(found, list) else found["messages"]
        return [mail for mail in mails if address in mail["to"]]

    def select(self, sql: str, **parameters: str) -> list[Json]:
        """Rows of the warehouse."""
        given = [bigquery.ScalarQueryParameter(name, "STRING", value) for name, value in parameters.items()]
        job = self.warehouse.query_and_wait(sql, job_config=bigquery.QueryJobConfig(query_parameters=given))
        return [dict(row.items()) for row in job]

    def document(self, collection: str, name: str) -> Json:
        """A Firestore document; empty when it is not there."""
        return self.profiles.collection(collection).document(document_id(name)).get().to_dict() or {}


@pytest.fixture(scope="module")
def outside(cloud: LaptopCloud) -> Iterator[Outside]:
    """Clients that are told where the cloud is by the official variables only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in STORES:
            patch.setenv(name, cloud.env[name])
        made = Outside(
            cloud=cloud,
            http=httpx.Client(timeout=60, trust_env=False),
            publisher=pubsub_v1.PublisherClient(),
            warehouse=bigquery.Client(project=PROJECT, credentials=AnonymousCredentials()),
            profiles=firestore.Client(project=PROJECT, credentials=AnonymousCredentials()),
            blackboard=redis.Redis.from_url(cloud.env["REDIS_URL"], decode_responses=True),
        )
        made.send(*(_order(f"crowd-{number}", f"crowd-order-{number}") for number in range(4)))
        wait_for(lambda: made.select("SELECT product_id FROM argo.popular_products"), "something that is popular")
        yield made
        made.http.close()
        made.blackboard.close()
        made.warehouse.close()
        made.publisher.stop()


def wait_for(look: Callable[[], Found], what: str) -> Found:
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS:.0f} s: {what}"
        time.sleep(LOOK_SECONDS)
    return found


def _order(user_id: str, message_id: str, revenue: float = 7.65) -> Json:
    products = [
        {"product_id": f"p{number}", "name": f"LAMP No. {number}", "price": 2.55, "quantity": 1} for number in (1, 2, 3)
    ]
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": message_id,
        "userId": user_id,
        "properties": {"order_id": message_id, "revenue": revenue, "products": products},
    }


def make_person(outside: Outside, **traits: Any) -> str:
    """Somebody new, whose profile is there."""
    user_id = f"person-{uuid4().hex[:8]}"
    agreed = {"marketingConsent": True, **traits}
    outside.send({"type": "identify", "userId": user_id, "messageId": uuid4().hex, "traits": agreed})
    wait_for(lambda: outside.document("users", user_id), "the profile")
    return user_id


def make_moment(user_id: str) -> rows.Moment:
    data = {"user_id": user_id, "case_id": user_id, "orders": 5, "days_since_last_order": 40.0, "usual_gap_days": 9.0}
    return rows.Moment(
        moment_id=derive_id("lapsed_buyer", user_id),
        kind="lapsed_buyer",
        user_id=user_id,
        detected_at=datetime.now(UTC),
        data=msgspec.json.encode(data).decode(),
    )


def task_of(user_id: str) -> str:
    return derive_id(derive_id("lapsed_buyer", user_id), "win_back")


def ended_task(outside: Outside, task_id: str) -> Callable[[], str | None]:
    def look() -> str | None:
        status = outside.blackboard.get(status_key(task_id))
        return str(status) if status in {"COMPLETED", "FAILED"} else None

    return look


def test_a_moment_becomes_one_email_with_every_step_on_record(outside: Outside) -> None:
    """Prevents: any break between the moment and the mailbox, and a second email because a moment came three times."""
    user_id = make_person(outside, email="ann@shop.example", language="ko")
    moment = rows.encode(make_moment(user_id))
    outside.publish("moments", moment, moment, moment)
    task_id = task_of(user_id)
    assert wait_for(ended_task(outside, task_id), "the end of the task") == "COMPLETED", outside.blackboard.get(
        result_key(task_id, "MasterOrchestratorAgent")
    )
    [mail] = wait_for(lambda: outside.mails("ann@shop.example"), "the email")
    assert "{{" not in mail["text"] + mail["html"]
    assert mail["headers"]["List-Unsubscribe"].strip("<>") in mail["text"]
    action_id = derive_id(task_id, "action")
    assert action_id in mail["headers"]["Message-ID"]
    wait_for(lambda: outside.document("outbox", action_id).get("reported"), "the outcome told")

    asked = (
        "SELECT sourceAgent, action, kind, status FROM argo.agent_messages WHERE COALESCE(parentTaskId, taskId) = @t"
    )
    wait_for(lambda: len(outside.select(asked, t=task_id)) >= 9, "four requests, four answers and the end")
    said = {(row["action"], row["kind"]) for row in outside.select(asked, t=task_id)}
    steps = ("summarise", "choose", "write_email", "review")
    assert said == {(step, kind) for step in steps for kind in ("request", "response")} | {("task_completed", "event")}
    calls = "SELECT DISTINCT prompt, model FROM argo.llm_usage WHERE task_id = @t"  # a step may have asked twice
    wait_for(lambda: len(outside.select(calls, t=task_id)) >= 3, "three model calls")
    assert {row["prompt"] for row in outside.select(calls, t=task_id)} == {
        "choose_product@2",
        "write_email@1",
        "review_message@2",
    }
    told = "SELECT event_id FROM argo.interactions WHERE event_type = 'email_sent' AND user_id = @u"
    wait_for(lambda: outside.select(told, u=user_id), "the event Email Sent")
    words = "SELECT data FROM argo.agent_bus WHERE CONTAINS_SUBSTR(TO_JSON_STRING(data), @a)"
    assert not outside.select(words, a="ann@shop.example"), "an address in a message between agents"
    time.sleep(1)
    assert len(outside.mails("ann@shop.example")) == 1


def test_a_question_is_planned_answered_and_sends_nothing(outside: Outside) -> None:
    """Prevents: a plan that is made but not followed, an answer without its evidence, and a question that writes emails."""
    user_id = make_person(outside, email="una@shop.example", language="en")
    moment = rows.Moment(
        moment_id=derive_id("goal", user_id),
        kind="goal",
        user_id=user_id,
        detected_at=datetime.now(UTC),
        data=msgspec.json.encode({"goal": "Why did this customer's engagement fall?"}).decode(),
    )
    outside.publish("moments", rows.encode(moment))
    task_id = derive_id(moment.moment_id, "pursue_goal")
    told = wait_for(ended_task(outside, task_id), "the end of the task")
    outcome = msgspec.json.decode(str(outside.blackboard.get(result_key(task_id, "MasterOrchestratorAgent"))))
    assert told == "COMPLETED", outcome
    assert outcome["result"]["answer"]
    assert set(outcome["result"]["evidence"]) <= {"history", "offer"}
    asked = "SELECT action FROM argo.agent_messages WHERE parentTaskId = @t AND kind = 'request'"
    wait_for(lambda: len(outside.select(asked, t=task_id)) == 4, "the plan, its two steps and the conclusion")
    assert not outside.mails("una@shop.example")


def test_a_summary_knows_what_the_warehouse_knows(outside: Outside) -> None:
    """Prevents: a statement that BigQuery takes but that counts or orders wrongly."""
    user_id = make_person(outside, email="cho@shop.example", language="ko-KR", country="KR")
    outside.send(
        _order(user_id, f"one-{user_id}"), _order(user_id, f"two-{user_id}"), _order(user_id, f"two-{user_id}")
    )
    seen = "SELECT event_id FROM argo.interactions WHERE person_id = @u AND event_type = 'order_completed'"
    wait_for(lambda: len(outside.select(seen, u=user_id)) == 2, "both orders")
    outside.publish("moments", rows.encode(make_moment(user_id)))
    summary = wait_for(lambda: outside.blackboard.get(context_key(user_id)), "the summary")
    assert msgspec.json.decode(str(summary)) == {
        "userId": user_id,
        "language": "ko",
        "country": "KR",
        "emailKnown": True,
        "marketingConsent": True,
        "recentProducts": [{"productId": f"p{number}", "name": f"LAMP No. {number}"} for number in (1, 2, 3)],
        "orders": 2,
        "categories": [],  # the graph learns of them with the next sync
        "neighbours": [],
    }


def test_an_event_that_is_a_moment_is_answered(outside: Outside) -> None:
    """Prevents: the filtered subscription and the orchestrator reading different things from one event."""
    user_id = make_person(outside, email="bea@shop.example")
    # Something that others bought and this person did not: what one just had is not recommended.
    other = _order("somebody-else", f"other-{user_id}", revenue=9)
    other["properties"]["products"] = [{"product_id": f"lamp-{user_id}", "name": "Lamp", "price": 9}]
    outside.send(other)
    seen = "SELECT event_id FROM argo.interactions WHERE event_id = @e"
    wait_for(lambda: outside.select(seen, e=f"other-{user_id}"), "the other person's order")
    order = _order(user_id, f"cancel-{user_id}", revenue=120.5)
    outside.send({**order, "event": "Order Cancelled"})
    [mail] = wait_for(lambda: outside.mails("bea@shop.example"), "the email")
    assert mail["subject"]
    answered = """
        SELECT status FROM argo.agent_messages WHERE action = 'find_signals' AND kind = 'response'
        AND correlationId IN (SELECT moment_id FROM argo.moments WHERE user_id = @u)
    """
    [looked_outside] = wait_for(lambda: outside.select(answered, u=user_id), "what the market agent answered")
    assert looked_outside["status"] == "COMPLETED"  # the step is FAIL_OPEN: the email alone would not tell


def test_somebody_without_consent_is_skipped_and_that_is_told(outside: Outside) -> None:
    """Prevents: a task that succeeds without an effect and without a word about it."""
    user_id = make_person(outside, language="en", email="eve@shop.example", marketingConsent=False)
    outside.publish("moments", rows.encode(make_moment(user_id)))
    action_id = derive_id(task_of(user_id), "action")
    entry = wait_for(lambda: outside.document("outbox", action_id), "the outbox entry")
    assert entry["state"] == "SKIPPED"
    told = "SELECT event_id FROM argo.interactions WHERE event_type = 'email_skipped' AND user_id = @u"
    wait_for(lambda: outside.select(told, u=user_id), "the event Email Skipped")


def test_two_actions_at_once_give_one_person_one_email(outside: Outside) -> None:
    """Prevents: a frequency cap that holds only when actions come one after another."""
    user_id = make_person(outside, email="dan@shop.example")
    content = {"subject": "s", "text": "{{unsubscribe}}", "html": "<p>{{unsubscribe}}</p>"}
    actions = [
        rows.Action(
            action_id=f"{user_id}-{number}",
            task_id="t",
            moment_id=f"m{number}",
            kind="email",
            user_id=user_id,
            created_at=datetime.now(UTC),
            approved_by="SecurityGuardianAgent",
            content=msgspec.json.encode(content).decode(),
        )
        for number in range(5)
    ]
    outside.publish("actions", *(rows.encode(action) for action in actions * 2))
    wait_for(
        lambda: all(outside.document("outbox", action.action_id).get("reported") for action in actions), "five outcomes"
    )
    states = sorted(outside.document("outbox", action.action_id)["state"] for action in actions)
    assert states == ["SENT", *["SKIPPED"] * 4]
    assert len(outside.mails("dan@shop.example")) == 1


def test_agents_killed_in_mid_task_lose_nothing(outside: Outside) -> None:
    """Prevents: a task that hangs, or two emails, because processes died while they worked."""
    people = {f"kim{number}@shop.example": "" for number in range(6)}
    for address in people:
        people[address] = make_person(outside, email=address)
    outside.publish("moments", *(rows.encode(make_moment(user_id)) for user_id in people.values()))
    for name in ("agent-creative-content", "orchestrate", "act"):
        former = outside.cloud.kill(name)
        outside.cloud.wait_until_back(name, former)
    for user_id in people.values():
        assert wait_for(ended_task(outside, task_of(user_id)), "the end of the task") == "COMPLETED"
    for address in people:
        mails = wait_for(lambda address=address: outside.mails(address), "the email")
        # Killed between sending and noting it, act sends the same message again: one Message-ID, shown once.
        assert len({mail["headers"]["Message-ID"] for mail in mails}) == 1


@pytest.mark.parametrize("user_id", ["shuffled", "a/b", "..", "__odd__", "김"])
def test_profiles_converge_on_firestore(outside: Outside, user_id: str) -> None:
    """Prevents: a live profile that depends on the order of deliveries, and ids that Firestore refuses."""
    chance = random.Random(user_id)
    now = datetime.now(UTC)
    updates = [
        ProfileUpdate(
            user_id=user_id,
            event_id=f"e{number:02}",
            at=now + timedelta(microseconds=chance.randrange(6)),
            fields={chance.choice("abc"): number, "nested": {"n": [number]}},
        )
        for number in range(15)
    ]
    expected: dict[str, Any] = {}
    for update in sorted(updates, key=lambda one: (one.at, one.event_id)):
        expected.update(update.fields)
    delivered = [*updates, *chance.choices(updates, k=10)]
    chance.shuffle(delivered)
    outside.publish("user-profile-updates", *(msgspec.json.encode(update) for update in delivered))
    wait_for(lambda: outside.document("users", user_id).get("fields") == expected, f"{user_id} with {expected}")
    time.sleep(0.5)
    document = outside.document("users", user_id)
    assert document["fields"] == expected
    assert document["userId"] == user_id
    assert document["updatedAt"] == max(update.at for update in updates)


def test_what_nobody_can_read_is_kept_with_its_reason(outside: Outside) -> None:
    """Prevents: poison that is redelivered for days, or that vanishes."""
    mark = uuid4().hex
    outside.publish("moments", msgspec.json.encode({"moment_id": mark}))
    kept = "SELECT attributes FROM argo.dead_letters WHERE CONTAINS_SUBSTR(TO_JSON_STRING(data), @m)"
    # The warehouse's own subscription refuses the same message, with its own reason.
    wait_for(
        lambda: any("not a Moment" in str(row["attributes"]) for row in outside.select(kept, m=mark)), "the dead letter"
    )


def test_a_drop_is_explained_by_rows_that_exist_before_anybody_is_written_to(outside: Outside) -> None:
    """Prevents: a model that answers without asking, tools that only fakes can answer, and a reason without evidence."""
    user_id = make_person(outside, email="drop@shop.example")
    device = f"device-{user_id}"  # what they did before they were known is theirs as well
    outside.send(*({"type": "page", "anonymousId": device, "messageId": uuid4().hex} for _ in range(3)))
    outside.send({"type": "identify", "userId": user_id, "anonymousId": device, "messageId": uuid4().hex})
    mine = "SELECT event_id FROM argo.interactions WHERE person_id = @u"
    wait_for(lambda: len(outside.select(mine, u=user_id)) >= 5, "the person's events")
    moment = rows.Moment(
        moment_id=derive_id("engagement_drop", user_id),
        kind="engagement_drop",
        user_id=user_id,
        detected_at=datetime.now(UTC),
        data=msgspec.json.encode({"user_id": user_id, "case_id": user_id, "earlier_events": 40}).decode(),
    )
    outside.publish("moments", rows.encode(moment))
    task_id = derive_id(moment.moment_id, "engagement_drop")
    status = wait_for(ended_task(outside, task_id), "the end of the task")
    assert status == "COMPLETED", outside.blackboard.get(result_key(task_id, "MasterOrchestratorAgent"))
    answers = (
        "SELECT payload FROM argo.agent_messages WHERE parentTaskId = @t AND action = 'analyse' AND kind = 'response'"
    )
    [answer, *_] = wait_for(lambda: outside.select(answers, t=task_id), "the analysis as a row")
    payload: Any = answer["payload"]
    analysis = (payload if isinstance(payload, dict) else json.loads(payload))["output"]
    assert "Scripted stand-in" in analysis["hypothesis"]
    seen = [(evidence["row"]["event_type"], evidence["row"]["events"]) for evidence in analysis["evidence"]]
    assert seen == [("page", 3)]
    calls = "SELECT DISTINCT call_id FROM argo.llm_usage WHERE task_id = @t AND prompt = 'analyse_engagement@1'"
    wait_for(lambda: len(outside.select(calls, t=task_id)) >= 2, "one call with tools and one with the conclusion")
