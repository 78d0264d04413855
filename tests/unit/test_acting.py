"""One action is one email to one person who agreed to it, however often and however badly it is delivered."""

from __future__ import annotations

import random
import smtplib
from datetime import timedelta
from email import policy
from email.parser import BytesParser
from typing import Any

import msgspec
import pytest

from agents.acting import links
from agents.acting.email import Way
from agents.acting.policy import PATH, find_refusal, read_policy
from agents.acting.service import PROFILE_GRACE, Busy, NotYet, Ports, act_on
from agents.errors import Poison
from agents.swarm import outputs
from agents.tools.mail import FakeMailer, Mail, MailRefused, compose_message
from agents.tools.outbox import LEASE, FakeOutbox, Limit, Order, State
from agents.tools.outcomes import FakeOutcomes
from agents.tools.profiles import FakeProfiles
from agents.tools.webhooks import FakeWebhooks
from schemas.messages import Json, ProfileUpdate, derive_id
from schemas.rows import Action, encode
from tests.unit.swarm import START, Clock

POLICY = read_policy(
    PATH.read_text("utf-8").replace('"21:00"', '"00:00"').replace('"08:00"', '"00:00"'), "policy.yaml, never quiet"
)
KEYS = ["a key"]
WAY = Way(address="https://links.shop.example", keys=KEYS, shop=POLICY.shop)
DAY = timedelta(hours=24)

CONTENT: Json = {
    "subject": "램프 for you",
    "text": "Hello\n{{unsubscribe}}",
    "html": "<p>Hello</p><p>{{unsubscribe}}</p>",
    "language": "en",
    "imagePrompt": "a lamp",
}


class Crash(Exception):
    """The process died here."""


def make_action(action_id: str = "a1", user_id: str = "u1", **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "action_id": action_id,
        "task_id": "t1",
        "moment_id": "m1",
        "kind": "email",
        "user_id": user_id,
        "created_at": START,
        "approved_by": "SecurityGuardianAgent",
        "content": msgspec.json.encode(CONTENT).decode(),
        "product_id": "p1",
        **changes,
    }
    return encode(Action(**values))


class World:
    """act with everything it touches."""

    def __init__(self, **fields: Any) -> None:
        self.clock = Clock()
        self.outbox = FakeOutbox()
        self.profiles = FakeProfiles()
        self.mailer = FakeMailer()
        self.outcomes = FakeOutcomes()
        self.webhooks = FakeWebhooks()
        self.policy = POLICY
        self.tell(**(fields or {"email": "ann@example.com", "marketingConsent": True}))

    def tell(self, **fields: Any) -> None:
        update = ProfileUpdate(user_id="u1", event_id=f"e{self.clock.now}", at=self.clock.now, fields=fields)
        self.profiles.apply(update)

    def ports(self) -> Ports:
        return Ports(
            outbox=self.outbox,
            profiles=self.profiles,
            mailer=self.mailer,
            webhooks=self.webhooks,
            outcomes=self.outcomes,
            policy=self.policy,
            way=lambda: WAY,
            now=self.clock,
        )

    def act(self, data: bytes | None = None) -> None:
        act_on(make_action() if data is None else data, self.ports())

    def state(self, action_id: str = "a1") -> State:
        return self.outbox.entries[action_id].state


def test_an_action_becomes_an_email_with_a_way_out_and_is_told() -> None:
    """Prevents: mail that cannot be stopped, and actions whose effect nobody can measure."""
    world = World()
    world.act()
    [mail] = world.mailer.sent
    assert (mail.recipient, mail.message_key, mail.subject) == ("ann@example.com", "a1", "램프 for you")
    link = mail.headers["List-Unsubscribe"].strip("<>")
    assert mail.text == f"Hello\nUnsubscribe: {link}"
    assert mail.html == f'<p>Hello</p><p><a href="{link}">Unsubscribe</a></p>'
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = link.removeprefix("https://links.shop.example/u/")
    about = links.Link(action_id="a1", user_id="u1", product_id="p1")
    assert links.read(token, links.UNSUBSCRIBE, KEYS, links.Link, None) == about
    assert links.read(token, links.CLICK, KEYS, links.Link, None) is None, "a way out that counts as a click"
    [told] = world.outcomes.reported
    assert (told.event, told.message_id, told.user_id) == ("Email Sent", derive_id("a1", "sent"), "u1")
    assert told.properties == {"action_id": "a1", "moment_id": "m1", "product_id": "p1"}
    assert world.state() is State.SENT


def test_a_replay_changes_nothing() -> None:
    """Prevents: two emails because a message came twice, even much later."""
    world = World()
    world.act()
    world.clock.now += timedelta(days=30)
    world.tell(unsubscribed=True)
    world.act()
    assert (len(world.mailer.sent), len(world.outcomes.reported), world.state()) == (1, 1, State.SENT)


def test_a_crash_between_sending_and_settling_repeats_the_same_mail() -> None:
    """Prevents: mail that is lost, or shown twice because its repeat has another Message-ID."""
    world = World()
    world.outbox.errors = [Crash()]
    with pytest.raises(Crash):
        world.act()
    assert world.state() is State.SENDING
    with pytest.raises(Busy):
        world.act()  # nobody knows yet whether the first delivery is dead
    world.clock.now += LEASE
    world.act()
    first, second = world.mailer.sent
    assert first.message_key == second.message_key
    assert world.state() is State.SENT
    assert len(world.outcomes.reported) == 1


def test_a_second_delivery_does_not_send_while_the_first_is_at_work() -> None:
    """Prevents: two instances that send the same mail at the same time."""
    world = World()

    class Slow(FakeMailer):
        def send(self, mail: Mail) -> None:
            with pytest.raises(Busy):
                world.act()
            super().send(mail)

    world.mailer = Slow()
    world.act()
    assert len(world.mailer.sent) == 1


def test_a_crash_before_the_outcome_is_told_tells_it_later_with_the_same_id_and_time() -> None:
    """Prevents: sent mail that the KPIs do not know, or count twice."""
    world = World()
    world.outcomes.errors = [Crash()]
    with pytest.raises(Crash):
        world.act()
    world.outbox.errors = [Crash()]
    with pytest.raises(Crash):
        world.act()  # told, but not noted as told
    world.clock.now += timedelta(hours=1)
    world.act()
    world.act()
    assert len(world.mailer.sent) == 1
    assert len(world.outcomes.reported) == 2
    assert world.outcomes.reported[0] == world.outcomes.reported[1]


@pytest.mark.parametrize("error", [smtplib.SMTPServerDisconnected("bye"), ConnectionRefusedError(), TimeoutError()])
def test_a_passing_mail_failure_is_tried_again_at_once(error: Exception) -> None:
    """Prevents: mail that waits for a lease to end, or is given up, because the server restarted."""
    world = World()
    world.mailer.errors = [error]
    with pytest.raises(type(error)):
        world.act()
    assert world.state() is State.PENDING
    world.act()
    assert (len(world.mailer.sent), world.state()) == (1, State.SENT)


def test_a_refusal_for_good_is_not_tried_again_and_frees_the_person() -> None:
    """Prevents: hammering a server that said no, and a person who gets nothing because of a mail that never came."""
    world = World()
    world.mailer.errors = [MailRefused("the mail server answers 550 no such user")]
    world.act()
    world.act()
    assert (world.state(), world.outbox.entries["a1"].reason) == (
        State.FAILED,
        "the mail server answers 550 no such user",
    )
    assert [told.event for told in world.outcomes.reported] == ["Email Failed"]
    world.act(make_action("a2", moment_id="m2"))
    assert world.state("a2") is State.SENT


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"language": "en"}, "no usable email address"),
        ({"email": ""}, "no usable email address"),
        ({"email": 7}, "no usable email address"),
        ({"email": "ann"}, "no usable email address"),
        ({"email": "ann@example.com\r\nBcc: all@example.com"}, "no usable email address"),
        ({"email": "ann@example.com, bob@example.com"}, "no usable email address"),
        ({"email": "Ann <ann@example.com>"}, "no usable email address"),
        ({"email": "a@b@example.com"}, "no usable email address"),
        ({"email": "ann@example.com", "marketingConsent": False}, "no consent"),
        ({"email": "ann@example.com", "marketingConsent": "false"}, "no consent"),
        ({"email": "ann@example.com", "marketingConsent": "perhaps"}, "no consent"),
        ({"email": "ann@example.com", "unsubscribed": True, "marketingConsent": True}, "unsubscribed"),
        ({"email": "ann@example.com"}, "never asked"),
    ],
)
def test_people_who_must_not_get_mail_get_none(fields: Json, reason: str) -> None:
    """Prevents: mail without consent, and addresses that smuggle a header or a second recipient."""
    world = World(**fields)
    world.clock.now += PROFILE_GRACE
    world.act()
    world.act()
    assert not world.mailer.sent
    assert world.state() is State.SKIPPED
    [told] = world.outcomes.reported
    assert told.event == "Email Skipped"
    assert reason in told.properties["reason"]
    assert "product_id" not in told.properties, "the person never saw it"
    assert not world.outbox.read_contact("u1").sent, "a mail that was not sent must not use up the person's day"


def test_somebody_without_a_profile_gets_none() -> None:
    """Prevents: an error for ever about a person who was deleted."""
    world = World()
    world.clock.now += PROFILE_GRACE
    world.act(make_action(user_id="nobody"))
    assert world.state() is State.SKIPPED


def test_an_address_that_is_a_little_late_is_waited_for() -> None:
    """Prevents: no mail to a new person because the moment came faster than the profile."""
    world = World(language="en")
    with pytest.raises(NotYet):
        world.act()
    assert not world.outbox.entries
    world.tell(email="ann@example.com", marketingConsent=True)
    world.act()
    assert world.state() is State.SENT


def test_a_shop_may_choose_opt_out() -> None:
    """Prevents: a shop whose law and customers allow it, and that reaches nobody because it never asks."""
    opt_out = msgspec.structs.replace(POLICY, consent="opt_out")
    assert find_refusal({"email": "ann@example.com"}, opt_out) == ""
    assert find_refusal({"email": "ann@example.com", "marketingConsent": False}, opt_out)


def test_a_person_gets_one_email_a_day() -> None:
    """Prevents: several moments on one day that become several emails."""
    world = World()
    world.act(make_action("a1", moment_id="m1"))
    world.act(make_action("a2", moment_id="m2"))
    world.clock.now += DAY
    world.act(make_action("a3", moment_id="m3"))
    assert [mail.message_key for mail in world.mailer.sent] == ["a1", "a3"]
    assert world.state("a2") is State.SKIPPED
    assert "24 hours" in world.outcomes.reported[1].properties["reason"]


def test_a_slow_delivery_does_not_undo_a_final_state() -> None:
    """Prevents: a sent mail that is marked as free, and so sent once more."""
    world = World()
    order = Order(action_id="a1", user_id="u1", moment_id="m1", limits=[Limit(messages=1, span=DAY)])
    claim = world.outbox.take(order, world.clock.now)
    world.clock.now += LEASE
    world.act()
    world.outbox.settle(msgspec.structs.replace(claim.entry, state=State.PENDING, lease_until=None))
    assert world.state() is State.SENT


@pytest.mark.parametrize("seed", range(40))
def test_whatever_crashes_a_person_sees_one_email_and_one_outcome(seed: int) -> None:
    """Prevents: any order of crashes and redeliveries that ends in two different emails or none."""
    chance = random.Random(seed)
    world = World()
    world.outbox.errors = [Crash()] * chance.randrange(3)
    world.outcomes.errors = [Crash()] * chance.randrange(3)
    world.mailer.errors = [TimeoutError()] * chance.randrange(3)
    for _ in range(40):
        try:
            world.act()
        except (Crash, Busy, TimeoutError):
            world.clock.now += timedelta(seconds=chance.choice([0, 10, 61]))
    world.clock.now += LEASE
    world.act()
    assert len({mail.message_key for mail in world.mailer.sent}) == 1
    assert world.state() is State.SENT
    assert len({(told.message_id, told.timestamp) for told in world.outcomes.reported}) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        make_action(kind="fax"),
        make_action(content="no json"),
        make_action(content='{"subject": "s"}'),
        make_action(content=msgspec.json.encode({**CONTENT, "text": "no way out"}).decode()),
        make_action(content=msgspec.json.encode({**CONTENT, "html": "<p>no way out</p>"}).decode()),
    ],
)
def test_what_cannot_be_done_is_poison(data: bytes) -> None:
    """Prevents: mail without an unsubscribe line, and redelivering for days what nobody can read."""
    world = World()
    with pytest.raises(Poison):
        world.act(data)
    assert not world.mailer.sent


def test_a_mail_on_the_wire_is_readable_in_any_script_and_keeps_its_id() -> None:
    """Prevents: question marks instead of Korean, and a repeat that mailboxes show twice."""
    mail = Mail(
        message_key="a1",
        recipient="ann@example.com",
        subject="고객님을 위한 추천: 램프" * 5,
        text="안녕하세요\n.\n끝",
        html="<p>안녕하세요</p>",
        sent_at=START,
        headers={"List-Unsubscribe": "<mailto:argo@shop.example?subject=unsubscribe%20a1>"},
    )
    raw = compose_message(mail, "argo@shop.example").as_bytes()
    assert raw.isascii()
    read = BytesParser(policy=policy.default).parsebytes(raw)
    assert read["Subject"] == mail.subject
    assert read["Message-ID"] == "<a1@shop.example>"
    assert read["List-Unsubscribe"] == mail.headers["List-Unsubscribe"]
    assert read.get_content_type() == "multipart/alternative"
    plain = read.get_body(("plain",))
    page = read.get_body(("html",))
    assert plain is not None
    assert page is not None
    assert plain.get_content().replace("\r\n", "\n").strip() == mail.text
    assert page.get_content().strip() == mail.html


def test_the_placeholder_is_the_one_that_the_guardian_demands() -> None:
    """Prevents: an unsubscribe line that one side writes and the other does not replace."""
    world = World()
    world.act()
    assert outputs.UNSUBSCRIBE == "{{unsubscribe}}"
    assert "{{" not in world.mailer.sent[0].text + world.mailer.sent[0].html
