"""What a mail server says is understood: later, never, and which of them without an address in the words."""

from __future__ import annotations

import json
import smtplib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from agents.tools import mail as tool
from agents.tools.mail import Mail, MailRefused, Smtp
from agents.tools.secrets import FakeSecrets
from agents.tools.settings import settings
from tests.unit.swarm import START

MAIL = Mail(message_key="a1", recipient="ann@example.com", subject="s", text="t", html="<p>t</p>", sent_at=START)


class Connection:
    """The socket's address, which decides whether a password may be said."""

    def __init__(self, address: str) -> None:
        self.address = address

    def getpeername(self) -> tuple[str, int]:
        return (self.address, 25)


class Server:
    """An SMTP server that offers AUTH but no TLS, and answers as told."""

    address = "127.0.0.1"
    error: Exception | None = None
    logins: list[tuple[str, str]]
    sent: list[Any]

    def __init__(self, host: str, port: int, timeout: float) -> None:
        del host, port, timeout
        self.sock: Any = Connection(type(self).address)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ehlo_or_helo_if_needed(self) -> None:
        pass

    def has_extn(self, name: str) -> bool:
        return name == "auth"

    def login(self, username: str, password: str) -> None:
        self.logins.append((username, password))

    def send_message(self, message: Any, from_addr: str, to_addrs: list[str]) -> Mapping[str, Any]:
        error = type(self).error
        if error:
            raise error
        self.sent.append((message, from_addr, to_addrs))
        return {}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    made = type("Told", (Server,), {"logins": [], "sent": []})
    monkeypatch.setattr(smtplib, "SMTP", made)
    values = {"smtp-credentials": json.dumps({"username": "argo", "password": "pw", "sender": "hello@shop.example"})}
    monkeypatch.setattr(tool, "secret_manager", lambda: FakeSecrets(values))
    for name, value in {"GOOGLE_CLOUD_PROJECT": "p", "K_SERVICE": "act", "SMTP_HOST": "mail.example"}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield made
    settings.cache_clear()


def test_a_mail_goes_to_its_one_recipient(server: type[Server]) -> None:
    """Prevents: mail to whoever stands in a header."""
    Smtp().send(MAIL)
    [(message, sender, recipients)] = server.sent
    assert (message["Message-ID"], sender, recipients) == (
        "<a1@shop.example>",
        "hello@shop.example",
        ["ann@example.com"],
    )
    assert server.logins == [("argo", "pw")]


def test_a_password_is_not_said_over_an_open_network(server: type[Server]) -> None:
    """Prevents: credentials in plain text on the wire."""
    server.address = "203.0.113.9"
    Smtp().send(MAIL)
    assert server.logins == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (smtplib.SMTPRecipientsRefused({"ann@example.com": (550, b"no ann@example.com here")}), MailRefused),
        (smtplib.SMTPRecipientsRefused({"ann@example.com": (450, b"busy")}), smtplib.SMTPException),
        (smtplib.SMTPDataError(554, b"spam"), MailRefused),
        (smtplib.SMTPDataError(451, b"later"), smtplib.SMTPException),
        (smtplib.SMTPSenderRefused(553, b"not you", "x"), MailRefused),
        (smtplib.SMTPAuthenticationError(535, b"wrong password"), smtplib.SMTPAuthenticationError),
        (smtplib.SMTPServerDisconnected("gone"), smtplib.SMTPServerDisconnected),
        (TimeoutError(), TimeoutError),
    ],
)
def test_later_and_never_are_told_apart(server: type[Server], error: Exception, expected: type[Exception]) -> None:
    """Prevents: hammering a server that said no, giving up on one that is busy, and addresses in a log."""
    server.error = error
    with pytest.raises(expected) as raised:
        Smtp().send(MAIL)
    assert isinstance(raised.value, MailRefused) == (expected is MailRefused)
    assert "ann@example.com" not in str(raised.value)


def test_only_act_may_send(server: type[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: an agent that reaches the outside world by itself."""
    monkeypatch.setenv("K_SERVICE", "agent-creative-content")
    settings.cache_clear()
    with pytest.raises(PermissionError, match="may not send mail"):
        Smtp().send(MAIL)
    assert not server.sent


def test_a_server_that_is_down_is_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: mail that is given up because the server restarts."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for name, value in {"GOOGLE_CLOUD_PROJECT": "p", "K_SERVICE": "act", "SMTP_HOST": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SMTP_PORT", str(port))
    values = {"smtp-credentials": json.dumps({"username": "argo", "password": "pw"})}
    monkeypatch.setattr(tool, "secret_manager", lambda: FakeSecrets(values))
    settings.cache_clear()
    with pytest.raises(OSError, match="refused"):
        Smtp().send(MAIL)
    assert Smtp().sender == "argo@127.0.0.1"
    settings.cache_clear()
