"""The mailbox: smtplib sends, HTTP reads."""

from __future__ import annotations

import smtplib
from collections.abc import Generator
from email.message import EmailMessage
from typing import Any

import pytest
import requests

from tests.emulator.standins import StandIn, running

ACCOUNT = {"MAILBOX_USER": "argo", "MAILBOX_PASSWORD": "open sesame"}
NO_ACCOUNT = {"MAILBOX_USER": "", "MAILBOX_PASSWORD": ""}


@pytest.fixture(scope="module")
def stand_in() -> Generator[StandIn]:
    with running("mailbox", env=NO_ACCOUNT) as started:
        yield started


@pytest.fixture
def mailbox(stand_in: StandIn) -> StandIn:
    requests.delete(f"{stand_in.url}/messages", timeout=5)
    return stand_in


def connect(mailbox: StandIn) -> smtplib.SMTP:
    host, _, port = mailbox.smtp_endpoint.partition(":")
    return smtplib.SMTP(host, int(port), timeout=5)


def build(subject: str = "Hello", text: str = "Hi", html: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Shop <shop@example.com>"
    message["To"] = "one@example.com"
    message["Subject"] = subject
    message["Date"] = "Fri, 20 Nov 2026 10:00:00 +0000"
    message["Message-ID"] = "<1@example.com>"
    message["List-Unsubscribe"] = "<https://shop.example/u>"
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message


def send(mailbox: StandIn, message: EmailMessage, *recipients: str) -> None:
    with connect(mailbox) as client:
        client.send_message(message, to_addrs=list(recipients) or None)


def read(mailbox: StandIn) -> list[dict[str, Any]]:
    return requests.get(f"{mailbox.url}/messages", timeout=5).json()


def test_a_korean_message_reads_as_it_was_written(mailbox: StandIn) -> None:
    """Prevents: a subject in encoded words, or a body in the wrong charset."""
    subject = "고객님을 위한 추천: 아주 길고 긴 이름을 가진 케이크 스탠드 상품이 도착했습니다"
    send(
        mailbox,
        build(subject, "안녕하세요\n좋은 하루", "<p>안녕하세요 &amp; 감사</p>"),
        "a@example.com",
        "b@example.com",
    )
    (mail,) = read(mailbox)
    assert mail["subject"] == subject
    assert mail["text"] == "안녕하세요\n좋은 하루\n"
    assert mail["html"] == "<p>안녕하세요 &amp; 감사</p>\n"
    assert mail["from"] == "Shop <shop@example.com>"
    assert mail["to"] == ["a@example.com", "b@example.com"]
    assert mail["message_id"] == "<1@example.com>"
    assert mail["date"] == "Fri, 20 Nov 2026 10:00:00 +0000"
    assert mail["headers"]["List-Unsubscribe"] == "<https://shop.example/u>"
    assert requests.get(f"{mailbox.url}/messages/{mail['id']}", timeout=5).json() == mail


@pytest.mark.parametrize(
    ("body_type", "body", "text"),
    [
        ("text/plain; charset=utf-8", "안녕".encode(), "안녕"),
        ("text/plain; charset=euc-kr", "안녕".encode("euc-kr"), "안녕"),
        ("text/plain; charset=no-such-charset", b"plain", "plain"),
        ("text/plain; charset=utf-8", b"\xff", "\ufffd"),
    ],
    ids=["utf-8", "euc-kr", "unknown", "broken"],
)
def test_raw_bytes_are_read_as_well_as_they_can(mailbox: StandIn, body_type: str, body: bytes, text: str) -> None:
    """Prevents: a message that the mailbox took and then cannot show."""
    raw = (
        f"Subject: 한국어 제목\r\nContent-Type: {body_type}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode() + body
    )
    with connect(mailbox) as client:
        client.ehlo()
        client.sendmail("a@example.com", ["b@example.com"], raw, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    (mail,) = read(mailbox)
    assert (mail["subject"], mail["text"].rstrip("\n")) == ("한국어 제목", text)


def test_doubles_stay_double(mailbox: StandIn) -> None:
    """Prevents: a sender that sends twice and a test that cannot see it."""
    for _ in range(2):
        send(mailbox, build())
    assert [mail["message_id"] for mail in read(mailbox)] == ["<1@example.com>"] * 2
    assert requests.delete(f"{mailbox.url}/messages", timeout=5).json() == {"deleted": 2}
    assert read(mailbox) == []


def test_a_refusal_is_temporary_and_counted(mailbox: StandIn) -> None:
    """Prevents: a retry that was never tried against a real 451."""
    requests.post(f"{mailbox.url}/_faults", json={"refuse_next": 2}, timeout=5)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError) as caught:
            send(mailbox, build())
        assert caught.value.smtp_code == 451
    send(mailbox, build())
    assert len(read(mailbox)) == 1
    for body in (b"{", b"[]", b'{"refuse_next": -1}', b'{"refuse_next": true}'):
        assert requests.post(f"{mailbox.url}/_faults", data=body, timeout=5).status_code == 400


def test_nothing_in_a_message_runs_on_the_page(mailbox: StandIn) -> None:
    """Prevents: a message whose subject, text or HTML takes over the reader's browser."""
    attack = '"><script>alert(1)</script>'
    send(mailbox, build(f"S {attack}", f"T {attack}", f"<p>H {attack}</p>"))
    (mail,) = read(mailbox)
    for path in ("/", f"/view/{mail['id']}"):
        page = requests.get(f"{mailbox.url}{path}", timeout=5)
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert '<iframe sandbox="" title="HTML body" srcdoc="&lt;p&gt;H &quot;' in page.text
    assert "S &quot;&gt;&lt;script&gt;" in page.text


def test_what_is_not_there_is_404(mailbox: StandIn) -> None:
    """Prevents: a 500 for an old link."""
    for path in ("/messages/999", "/view/999"):
        assert requests.get(f"{mailbox.url}{path}", timeout=5).status_code == 404
    assert requests.get(f"{mailbox.url}/healthz", timeout=5).status_code == 200


def test_only_the_account_may_send_and_its_password_is_never_written() -> None:
    """Prevents: a mail tool that forgets to log in and works here, and a password in a log."""
    with running("mailbox", env=ACCOUNT) as started:
        with connect(started) as client, pytest.raises(smtplib.SMTPSenderRefused) as caught:
            client.send_message(build())
        assert caught.value.smtp_code == 530
        with connect(started) as client, pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("argo", "wrong")
        for mechanism in ("LOGIN", "PLAIN"):
            with connect(started) as client:
                client.ehlo()
                client.user, client.password = "argo", "open sesame"
                assert client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))[0] == 235
                client.send_message(build())
        assert len(read(started)) == 2
        assert started.stop() == 0
        assert "sesame" not in "\n".join(started.lines)
        assert len(started.lines) == 1
