"""Who is contacted, when and by whose leave: the policy's file, quiet hours, approvals, webhooks and signed links."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from agents.acting import links, waiting
from agents.acting.policy import PATH, PolicyError, Webhook, find_quiet_end, read_policy
from agents.acting.service import act_on, digest_of
from agents.errors import Poison
from agents.tools.bus import FakeBus
from agents.tools.outbox import Approval, FakeOutbox, State
from agents.tools.outcomes import FakeOutcomes
from agents.tools.webhooks import WebhookRefused, WebhookUnavailable
from functions import approvals as approvals_function
from functions import links as links_function
from tests.unit.test_acting import KEYS, POLICY, World, make_action

TEXT = PATH.read_text(encoding="utf-8")
SHOP_HOURS = read_policy(TEXT, "policy.yaml")
CALM = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)  # noon in Seoul
LATE = datetime(2026, 3, 1, 14, 30, tzinfo=UTC)  # half past eleven in the evening in Seoul


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("time_zone: Asia/Seoul", "time_zone: Asia/Soul"), "quiet_hours.time_zone: 'Asia/Soul'"),
        (('from: "21:00"', 'from: "25:00"'), "quiet_hours.from"),
        (("home: https://", "home: http://"), "shop.home: 'http://"),
        (("/{product_id}", "/all"), "must hold {product_id}"),
        (("consent: opt_in", "consent: maybe"), "consent"),
        (("webhooks: {}", "webhooks: {crm: {url: 'http://10.0.0.1/x'}}"), "webhooks.crm.url: 'http://10.0.0.1/x'"),
        (("  email: 1\n", ""), "risk: without email"),
        (("caps: ", "capz: "), "capz"),
        (("consent: opt_in", "consent: ["), "policy.yaml"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(change: tuple[str, str], words: str) -> None:
    """Prevents: a typing error that silently lets everything out, or nothing."""
    assert change[0] in TEXT
    with pytest.raises(PolicyError) as caught:
        read_policy(TEXT.replace(*change), "policy.yaml")
    assert words in str(caught.value)
    assert "policy.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "now", "end"),
    [
        ({}, CALM, None),
        ({}, LATE, "2026-03-01T23:00:00+00:00"),
        ({"timezone": "Europe/London"}, LATE, None),
        ({"timezone": "Europe/London"}, CALM, "2026-03-01T08:00:00+00:00"),
        ({"timezone": "Mars/Olympus"}, LATE, "2026-03-01T23:00:00+00:00"),
        ({"timezone": 7}, LATE, "2026-03-01T23:00:00+00:00"),
        # The night in which New York's clocks go forward has an hour less.
        ({"timezone": "America/New_York"}, datetime(2026, 3, 8, 4, tzinfo=UTC), "2026-03-08T12:00:00+00:00"),
    ],
)
def test_quiet_hours_are_the_persons_own(fields: Mapping[str, Any], now: datetime, end: str | None) -> None:
    """Prevents: a message that wakes somebody, because the server's night is another."""
    found = find_quiet_end(fields, SHOP_HOURS, now)
    assert (found.isoformat() if found else None) == end


def test_a_message_in_the_night_goes_out_in_the_morning_once() -> None:
    """Prevents: a message that is dropped, or sent at night, or sent twice because the job ran twice."""
    world = World()
    world.policy = SHOP_HOURS
    world.clock.now = LATE
    world.act()
    world.act()
    assert (world.state(), world.mailer.sent) == (State.WAITING, [])
    assert {told.event for told in world.outcomes.reported} == {"Email Waiting"}
    assert len({told.message_id for told in world.outcomes.reported}) == 1
    bus = FakeBus()
    assert waiting.release_due(world.outbox, bus, world.clock.now) == 0
    world.clock.now = LATE + timedelta(hours=9)
    assert waiting.release_due(world.outbox, bus, world.clock.now) == 1
    assert waiting.release_due(world.outbox, bus, world.clock.now) == 1, "until act has taken it"
    for data in (make_action(), make_action()):
        world.act(data)
    assert (world.state(), len(world.mailer.sent)) == (State.SENT, 1)
    assert waiting.release_due(world.outbox, bus, world.clock.now) == 0
    assert [told.event for told in world.outcomes.reported].count("Email Sent") == 1


def test_one_moment_gets_one_message() -> None:
    """Prevents: two playbooks that answer the same moment with two messages, days apart."""
    world = World()
    world.act(make_action("a1"))
    world.clock.now += timedelta(days=20)
    world.act(make_action("a2"))
    assert world.state("a2") is State.SKIPPED
    assert "moment" in world.outbox.entries["a2"].reason


def test_the_longer_cap_counts_as_well() -> None:
    """Prevents: a message on each day of the week, which the day's cap alone would let out."""
    world = World()
    for day in range(5):
        world.act(make_action(f"a{day}", moment_id=f"m{day}"))
        world.clock.now += timedelta(days=1)
    assert [world.state(f"a{day}") for day in range(5)] == [State.SENT] * 3 + [State.SKIPPED] * 2


def test_who_left_by_a_link_stays_out_until_a_newer_yes() -> None:
    """Prevents: an old or repeated event that brings a person back who said no."""
    world = World()
    world.outbox.opt_out("u1", world.clock.now + timedelta(seconds=1))
    world.act(make_action("a1", moment_id="m1"))
    assert (world.state("a1"), world.outbox.entries["a1"].reason) == (State.SKIPPED, "unsubscribed")
    world.clock.now += timedelta(days=2)
    world.tell(unsubscribed=False)
    world.act(make_action("a2", moment_id="m2"))
    assert world.state("a2") is State.SKIPPED
    world.tell(marketingConsent=True)
    world.act(make_action("a3", moment_id="m3"))
    assert world.state("a3") is State.SENT


class Gate:
    """An action that is too risky to go out by itself."""

    def __init__(self) -> None:
        self.world = World()
        self.bus = FakeBus()
        self.data = make_action(risk=9)
        self.world.act(self.data)

    def decide(self, *, approved: bool, digest: str = "", after: timedelta = timedelta(minutes=5)) -> None:
        now = self.world.clock.now + after
        word = Approval(
            digest=digest or digest_of(self.data), expires_at=now, approved=approved, decided_by="kim", decided_at=now
        )
        waiting.decide_action(links.Request(action_id="a1", digest=word.digest), word, self.world.outbox, self.bus)
        self.world.clock.now = now


def test_a_risky_action_waits_for_a_persons_word() -> None:
    """Prevents: an action above the risk level that goes out by itself, and an approval that is asked for twice."""
    gate = Gate()
    gate.world.act(gate.data)
    assert (gate.world.state(), gate.world.mailer.sent) == (State.WAITING, [])
    assert len(waiting.list_requests(gate.world.outbox, gate.world.clock.now)) == 1
    gate.decide(approved=True)
    assert [sent.data for _, sent in gate.bus.sent] == [gate.data]
    gate.world.act(gate.data)
    assert (gate.world.state(), len(gate.world.mailer.sent)) == (State.SENT, 1)
    assert gate.world.outcomes.reported[-1].properties["decided_by"] == "kim"
    assert gate.world.outcomes.reported[-1].properties["digest"] == digest_of(gate.data)


def test_an_approval_is_for_these_bytes_only() -> None:
    """Prevents: a text that is exchanged after somebody approved another."""
    gate = Gate()
    gate.decide(approved=True)
    gate.world.act(
        make_action(risk=9, content=json.dumps({"subject": "x", "text": "{{unsubscribe}}", "html": "{{unsubscribe}}"}))
    )
    assert gate.world.state() is State.SKIPPED
    assert not gate.world.mailer.sent
    with pytest.raises(waiting.NotWaiting):
        Gate().decide(approved=True, digest="another")


def test_a_refusal_an_expiry_and_silence_send_nothing() -> None:
    """Prevents: an approval that is used after its time, or a refusal that is forgotten."""
    refused = Gate()
    refused.decide(approved=False)
    refused.world.act(refused.data)
    assert (refused.world.state(), refused.world.outbox.entries["a1"].reason) == (State.SKIPPED, "refused by kim")
    with pytest.raises(waiting.NotWaiting):
        refused.decide(approved=True)
    late = Gate()
    with pytest.raises(waiting.NotWaiting):
        late.decide(approved=True, after=timedelta(hours=73))
    silent = Gate()
    silent.world.clock.now += timedelta(hours=73)
    assert waiting.release_due(silent.world.outbox, silent.bus, silent.world.clock.now) == 1
    silent.world.act(silent.data)
    assert (silent.world.state(), silent.world.mailer.sent) == (State.SKIPPED, [])
    old = Gate()
    old.decide(approved=True)
    old.world.clock.now += timedelta(hours=80)
    old.world.act(old.data)
    assert old.world.state() is State.SKIPPED, "approved in time, used too late"


def test_a_crash_between_the_word_and_the_bus_is_repaired_by_the_same_word() -> None:
    """Prevents: an approved action that is never sent because the process died after writing the word."""
    gate = Gate()
    gate.bus.error = ConnectionError("down")
    with pytest.raises(ConnectionError):
        gate.decide(approved=True)
    gate.bus.error = None
    gate.decide(approved=True)
    assert len(gate.bus.sent) == 1
    with pytest.raises(waiting.NotWaiting):
        gate.decide(approved=False)


def _webhook(**changes: Any) -> bytes:
    content = {"receiver": "crm", "data": {"note": "call them"}, **changes}
    return make_action(kind="webhook", content=json.dumps(content), product_id=None)


def test_a_webhook_is_signed_and_goes_where_the_policy_says() -> None:
    """Prevents: a receiver that cannot tell our calls from anybody's, and an action that chooses its own address."""
    world = World()
    world.policy = msgspec.structs.replace(POLICY, webhooks={"crm": Webhook(url="https://crm.example/hook")})
    world.act(_webhook())
    world.act(_webhook())
    [call] = world.webhooks.calls
    assert call.url == "https://crm.example/hook"
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    expected = base64.b64encode(hmac.new(b"secret of crm", signed, hashlib.sha256).digest()).decode()
    assert call.headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(call.body)["data"] == {"note": "call them"}
    assert world.outcomes.reported[-1].event == "Webhook Sent"
    with pytest.raises(Poison, match="the policy has crm"):
        world.act(_webhook(receiver="https://169.254.169.254/latest"))


def test_a_webhook_that_fails_is_tried_again_or_given_up() -> None:
    """Prevents: a call that is lost while its receiver restarts, and one that is repeated for days after a no."""
    world = World()
    world.policy = msgspec.structs.replace(POLICY, webhooks={"crm": Webhook(url="https://crm.example/hook")})
    world.webhooks.errors = [WebhookUnavailable("503"), WebhookRefused("the receiver answers 410")]
    with pytest.raises(WebhookUnavailable):
        world.act(_webhook())
    world.act(_webhook())
    assert (world.state(), world.outcomes.reported[-1].event) == (State.FAILED, "Webhook Failed")


class Web:
    """The functions `links` and `approvals` over fakes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outbox: FakeOutbox, bus: FakeBus) -> None:
        self.outbox, self.outcomes = outbox, FakeOutcomes()
        for module in (links_function, approvals_function):
            monkeypatch.setattr(module, "firestore_outbox", lambda: outbox)
            monkeypatch.setattr(module, "load_policy", lambda: POLICY)
        monkeypatch.setattr(links, "read_keys", lambda: KEYS)
        monkeypatch.setattr(links_function, "collect", lambda: self.outcomes)
        monkeypatch.setattr(approvals_function, "pubsub", lambda: bus)
        everything = ["GET", "POST", "HEAD", "PUT"]
        routes = [
            Route("/v1/approvals{rest:path}", approvals_function.approvals, methods=everything),
            Route("/{path:path}", links_function.links, methods=everything),
        ]
        self.http = TestClient(Starlette(routes=routes), follow_redirects=False)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    return Web(monkeypatch, FakeOutbox(), FakeBus())


ABOUT = links.Link(action_id="a1", user_id="u1", product_id="p/1?x")


def test_a_click_is_counted_once_and_leads_to_the_shop_only(web: Web) -> None:
    """Prevents: an open redirect, and acceptance that counts one person's click many times."""
    path = f"/c/{links.sign(ABOUT, links.CLICK, KEYS)}"
    answers = [web.http.get(path), web.http.get(path), web.http.head(path)]
    assert {answer.status_code for answer in answers} == {302}
    assert {answer.headers["location"] for answer in answers} == {"https://shop.example/products/p%2F1%3Fx"}
    assert [told.event for told in web.outcomes.reported] == ["Email Clicked"] * 2
    assert len({told.message_id for told in web.outcomes.reported}) == 1


@pytest.mark.parametrize(
    "token",
    ["", "x", "https://evil.example", pytest.param(links.sign(ABOUT, links.CLICK, ["another key"]), id="another key")],
)
def test_a_link_that_we_did_not_sign_leads_nowhere(web: Web, token: str) -> None:
    """Prevents: links in our name that lead elsewhere, and unsubscribing other people."""
    for path in (f"/c/{token}", f"/u/{token}"):
        assert web.http.get(path).status_code == 404
    assert web.http.post(f"/u/{token}").status_code == 404
    crossed = web.http.post(f"/u/{links.sign(ABOUT, links.CLICK, KEYS)}")
    assert crossed.status_code == 404
    assert not web.outcomes.reported
    assert not web.outbox.contacts


def test_only_a_post_unsubscribes_and_it_holds_at_once(web: Web) -> None:
    """Prevents: mail scanners that unsubscribe people, and a way out that takes a while."""
    path = f"/u/{links.sign(ABOUT, links.UNSUBSCRIBE, KEYS)}"
    page = web.http.get(path)
    assert "<form" in page.text
    assert not web.outbox.contacts
    assert web.http.post(path, content="List-Unsubscribe=One-Click").status_code == 200
    assert web.outbox.contacts["u1"].opted_out_at
    assert [told.event for told in web.outcomes.reported] == ["Unsubscribed"]


def test_a_rotated_key_still_opens_old_links() -> None:
    """Prevents: every link in sent mail that breaks on the day a key is rotated."""
    token = links.sign(ABOUT, links.CLICK, ["old"])
    assert links.read(token, links.CLICK, ["old", "new"], links.Link, None) == ABOUT
    assert links.read(links.sign(ABOUT, links.CLICK, ["old", "new"]), links.CLICK, ["new"], links.Link, None) == ABOUT


def test_approvals_are_listed_shown_and_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: an approval page that shows other content than what goes out, or that anybody's name can pass."""
    gate = Gate()
    web = Web(monkeypatch, gate.world.outbox, gate.bus)
    monkeypatch.setattr(waiting, "BATCH", 10)
    entry = gate.world.outbox.entries["a1"]
    assert entry.approval
    later = msgspec.structs.replace(entry.approval, expires_at=datetime.now(UTC) + timedelta(hours=1))
    gate.world.outbox.entries["a1"] = msgspec.structs.replace(entry, approval=later)
    [one] = web.http.get("/v1/approvals").json()["waiting"]
    assert one["content"]["text"] == json.loads(msgspec.json.decode(gate.data)["content"])["text"]
    path = f"/v1/approvals/{one['token']}"
    assert web.http.get(path, headers={"accept": "text/html"}).text.count("<button") == 2
    assert web.http.post(path, data={"decision": "approve"}).status_code == 400, "nobody said who"
    assert web.http.post(path, data={"decision": "perhaps", "approver": "kim"}).status_code == 400
    assert web.http.post(path, data={"decision": "approve", "approver": "kim"}).status_code == 200
    assert len(gate.bus.sent) == 1
    assert web.http.post(path, data={"decision": "refuse", "approver": "lee"}).status_code == 409
    assert web.http.get(path).status_code == 410
    assert web.http.post("/v1/approvals/forged", data={"decision": "approve", "approver": "x"}).status_code == 410


def test_nothing_of_no_known_kind_is_done() -> None:
    world = World()
    with pytest.raises(Poison):
        act_on(make_action(kind="fax"), world.ports())
