"""What people do with a message, on the laptop cloud: the click, the way out, the approver's word; and the story of it all."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec
import pytest

from emulators.trace import build_tree
from schemas import rows
from schemas.messages import Json, derive_id
from tests.emulator.cloud import cloud
from tests.emulator.test_swarm import Outside, ended_task, make_moment, make_person, outside, task_of, wait_for

__all__ = ["cloud", "outside"]


def _links(text: str) -> dict[str, str]:
    found = re.findall(r"http://127\.0\.0\.1:\d+/([cu])/(\S+)", text)
    return {kind: f"/{kind}/{token}" for kind, token in found}


@pytest.fixture(scope="module")
def shopper(outside: Outside) -> tuple[str, Json]:
    """A person and the email that they got."""
    user_id = make_person(outside, email="lee@shop.example")
    outside.publish("moments", rows.encode(make_moment(user_id)))
    assert wait_for(ended_task(outside, task_of(user_id)), "the end of the task") == "COMPLETED"
    [mail] = wait_for(lambda: outside.mails("lee@shop.example"), "the email")
    return user_id, mail


def _told(outside: Outside, event_type: str, user_id: str) -> list[Json]:
    sql = "SELECT event_id FROM argo.interactions WHERE event_type = @e AND user_id = @u"
    return outside.select(sql, e=event_type, u=user_id)


def test_a_click_leads_to_the_shop_and_is_an_event(outside: Outside, shopper: tuple[str, Json]) -> None:
    """Prevents: acceptance that nobody can measure, and a link that leads anywhere else."""
    user_id, mail = shopper
    address = outside.cloud.env["ARGO_LINKS_URL"] + _links(mail["text"])["c"]
    for _ in range(2):
        answer = outside.http.get(address, follow_redirects=False)
        assert answer.status_code == 302
        assert answer.headers["location"].startswith("https://shop.example/products/p")
    wait_for(lambda: _told(outside, "email_clicked", user_id), "the event Email Clicked")
    assert len(_told(outside, "email_clicked", user_id)) == 1


def test_the_timeline_alone_tells_why(outside: Outside, shopper: tuple[str, Json]) -> None:
    """Prevents: a customer's question that nobody can answer from the record."""
    user_id, _ = shopper
    address = f"{outside.cloud.env['ARGO_TRACE_URL']}/v1/tasks"

    def look() -> Json:
        answer = outside.http.get(f"{address}/{task_of(user_id)}")
        story: Json = answer.json() if answer.status_code == 200 else {}
        facts = {node["fact"] for node in story.get("timeline", [])}
        return story if {"moment", "request", "event", "action", "outcome"} <= facts else {}

    story = wait_for(look, "the whole timeline")
    asked = {node["title"]: node for node in story["timeline"] if node["fact"] == "request"}
    choose = next(node for title, node in asked.items() if "RecommendationAgent" in title)
    assert {child["fact"] for child in choose["children"]} >= {"model_call", "recommendation", "response"}
    moment = next(node for node in story["timeline"] if node["fact"] == "moment")
    assert "days_since_last_order: 40.0" in moment["note"]
    page = outside.http.get(f"{address}/{task_of(user_id)}", headers={"accept": "text/html"})
    assert choose["children"][-1]["note"].split(",")[0].split(": ")[1].split()[0] in page.text
    assert any(task["task_id"] == task_of(user_id) for task in outside.http.get(address).json()["tasks"])
    assert "lapsed_buyer" in str(build_tree(story["task"], story["timeline"]).label)


def test_the_way_out_holds_for_the_very_next_message(outside: Outside, shopper: tuple[str, Json]) -> None:
    """Prevents: one more message after somebody said no."""
    user_id, mail = shopper
    address = outside.cloud.env["ARGO_LINKS_URL"] + _links(mail["text"])["u"]
    assert "<form" in outside.http.get(address).text
    assert not outside.document("contacts", user_id).get("optedOutAt")
    assert outside.http.post(address, content="List-Unsubscribe=One-Click").status_code == 200
    outside.publish("actions", _action(user_id, "after-no"))
    entry = wait_for(lambda: outside.document("outbox", f"after-no-{user_id}"), "the outbox entry")
    assert (entry["state"], entry["reason"]) == ("SKIPPED", "unsubscribed")
    wait_for(lambda: _told(outside, "unsubscribed", user_id), "the event Unsubscribed")


def test_a_risky_action_goes_out_after_a_persons_word(outside: Outside) -> None:
    """Prevents: an approval that only works in a unit test: over Firestore, its index, the bus and SMTP."""
    user_id = make_person(outside, email="may@shop.example")
    outside.publish("actions", _action(user_id, "risky", risk=9))
    address = f"{outside.cloud.env['ARGO_APPROVALS_URL']}/v1/approvals"

    def find() -> Json:
        waiting = outside.http.get(address).json()["waiting"]
        return next((one for one in waiting if one["user_id"] == user_id), {})

    one = wait_for(find, "the action to wait")
    assert not outside.mails("may@shop.example")
    word = outside.http.post(f"{address}/{one['token']}", data={"decision": "approve", "approver": "kim"})
    assert word.status_code == 200, word.text
    wait_for(lambda: outside.mails("may@shop.example"), "the email")
    decided = (
        "SELECT JSON_VALUE(properties, '$.decided_by') AS who FROM argo.interactions "
        "WHERE event_type = 'email_sent' AND user_id = @u"
    )
    wait_for(lambda: outside.select(decided, u=user_id), "the outcome")
    assert outside.select(decided, u=user_id) == [{"who": "kim"}]


def _action(user_id: str, name: str, risk: int | None = None) -> bytes:
    content = {"subject": "s", "text": "{{unsubscribe}}", "html": "<p>{{unsubscribe}}</p>"}
    return rows.encode(
        rows.Action(
            action_id=f"{name}-{user_id}",
            task_id="t",
            moment_id=derive_id(name, user_id),
            kind="email",
            user_id=user_id,
            created_at=datetime.now(UTC),
            approved_by="SecurityGuardianAgent",
            content=msgspec.json.encode(content).decode(),
            risk=risk,
        )
    )
