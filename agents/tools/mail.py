"""Mail over SMTP: one message, one recipient, one id that a repeat gets again.

Owns the wire and the difference between "not now" and "never". What may be sent to whom is decided in `agents.acting`.
"""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from agents.tools.once import once
from agents.tools.secrets import read_json, secret_manager
from agents.tools.settings import require, settings
from schemas import topology

if TYPE_CHECKING:
    from datetime import datetime

# One step of the SMTP dialogue; about eight of them stay within the outbox's lease, so that no second worker starts.
WAIT_SECONDS = 5.0


class MailRefused(Exception):
    """The server refuses this message for good (5xx); the text is its code and words, without addresses."""


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail. `message_key` becomes the Message-ID, by which mailboxes show a repeat once."""

    message_key: str
    recipient: str
    subject: str
    text: str
    html: str
    sent_at: datetime
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Mailer(Protocol):
    """Where mail leaves."""

    @property
    def sender(self) -> str:
        """The address that mail comes from, and to which a person's answer goes."""
        ...

    def send(self, mail: Mail) -> None:
        """Hand a mail over; when it returns, the server has it."""
        ...


class Smtp:
    """An SMTP server; encrypted and authenticated when the server offers it."""

    @property
    def sender(self) -> str:
        """The secret's `sender`, else its username when that is an address, else argo@<host of the server>."""
        credentials = _credentials()
        username = credentials.get("username", "")
        fallback = username if "@" in username else f"argo@{require(settings().smtp_host, 'SMTP_HOST')}"
        return credentials.get("sender") or fallback

    def send(self, mail: Mail) -> None:
        """Hand a mail over.

        Raises:
            MailRefused: a permanent refusal (5xx) of this message or recipient.
            smtplib.SMTPException, OSError: not now; try again.
        """
        if "mail" not in topology.load().access(settings().service).stores:
            raise PermissionError(f"{settings().service} may not send mail; topology.yaml grants it")
        message = compose_message(mail, self.sender)
        host = require(settings().smtp_host, "SMTP_HOST")
        with smtplib.SMTP(host, settings().smtp_port, timeout=WAIT_SECONDS) as server:
            _secure(server)
            try:
                server.send_message(message, from_addr=self.sender, to_addrs=[mail.recipient])
            except smtplib.SMTPRecipientsRefused as error:
                # The exception's own text holds the address, which must not reach a log.
                code, words = next(iter(error.recipients.values()))
                raise _refusal(code, words, mail) from None
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                raise _refusal(error.smtp_code, error.smtp_error, mail) from None


def compose_message(mail: Mail, sender: str) -> EmailMessage:
    """The MIME message: text and HTML as alternatives, UTF-8."""
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))  # not every server takes 8-bit bodies
    message["From"] = sender
    message["To"] = mail.recipient
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(mail.sent_at)
    message["Message-ID"] = f"<{mail.message_key}@{sender.rpartition('@')[2]}>"
    for name, value in mail.headers.items():
        message[name] = value
    message.set_content(mail.text, charset="utf-8")
    message.add_alternative(mail.html, subtype="html", charset="utf-8")
    return message


def _refusal(code: int, words: bytes | str, mail: Mail) -> Exception:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    reason = f"the mail server answers {code} {text}".replace(mail.recipient, "<recipient>")[:300]
    return MailRefused(reason) if code >= 500 else smtplib.SMTPException(reason)


def _secure(server: smtplib.SMTP) -> None:
    server.ehlo_or_helo_if_needed()
    if server.has_extn("starttls"):
        server.starttls(context=ssl.create_default_context())
        server.ehlo()
    credentials = _credentials()
    if server.has_extn("auth") and _is_private(server):
        server.login(credentials["username"], credentials["password"])


def _is_private(server: smtplib.SMTP) -> bool:
    """Whether a password may be said: over TLS, or without leaving this machine."""
    connection = server.sock
    if connection is None or isinstance(connection, ssl.SSLSocket):
        return connection is not None
    return ip_address(connection.getpeername()[0]).is_loopback


class FakeMailer:
    """Keeps what was sent; `errors` are raised one after another before anything goes out."""

    def __init__(self, *errors: Exception) -> None:
        self.sent: list[Mail] = []
        self.errors: list[Exception] = list(errors)

    @property
    def sender(self) -> str:
        """A fixed address."""
        return "argo@shop.example"

    def send(self, mail: Mail) -> None:
        """Record the mail, or raise the next error."""
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(mail)


@once
def smtp() -> Smtp:
    """The process's one mail server."""
    return Smtp()


def _credentials() -> dict[str, str]:
    return read_json(secret_manager(), "smtp-credentials")
