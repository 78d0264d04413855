"""A mailbox: takes every message over SMTP, shows them over HTTP.

Owns parsing (encoded words, raw UTF-8, any charset), the JSON list and a page for people. In a message `from` is the
header, `to` the envelope's recipients (so a Bcc shows), `headers` holds each name once, repeated ones joined by commas.
Deliberately not here: delivery, TLS, disk, and any merging of doubles: a test must be able to count them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import json
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.parser import HeaderParser
from html import escape
from types import FrameType

import uvicorn
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

_MAX_MESSAGE_BYTES = 32 * 1024 * 1024
# Nothing that a message holds may run, call home, or take over the page.
_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'; form-action 'none'"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd}"
    "pre{white-space:pre-wrap;background:#f6f6f6;padding:1rem}iframe{width:100%;height:30rem;border:1px solid #ddd}"
)


@dataclass(frozen=True)
class Mail:
    """One received message, decoded."""

    id: int
    sender: str
    to: list[str]
    subject: str
    date: str
    message_id: str
    text: str
    html: str
    headers: dict[str, str]

    def to_json(self) -> dict[str, object]:
        fields = asdict(self)
        return {"id": fields.pop("id"), "from": fields.pop("sender"), **fields}


def read_mail(mail_id: int, content: bytes, recipients: list[str]) -> Mail:
    """Decodes a message; what is broken in it is replaced, never refused."""
    # As text, so that headers in raw UTF-8 (SMTPUTF8) survive; the bodies need the bytes.
    head = content.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    headers: dict[str, str] = {}
    parsed_head: Message = HeaderParser(policy=policy.default).parsestr(head + "\n\n")
    for name, value in parsed_head.items():
        text = " ".join(str(value).split())
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    found = {name.lower(): text for name, text in headers.items()}
    message = message_from_bytes(content, policy=policy.default)
    return Mail(
        id=mail_id,
        sender=found.get("from", ""),
        to=recipients,
        subject=found.get("subject", ""),
        date=found.get("date", ""),
        message_id=found.get("message-id", ""),
        text=_read_body(message, "plain"),
        html=_read_body(message, "html"),
        headers=headers,
    )


def _read_body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    if part is None:
        return ""
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    try:
        text = raw.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:  # a charset that Python does not know
        text = raw.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")


class Mailbox:
    """The messages, and the SMTP side's hooks (aiosmtpd finds them by name)."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.refuse_next = 0
        self._last_id = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refuse_next > 0:
            self.refuse_next -= 1
            return "451 4.3.0 Refused as asked through /_faults, try again later"
        content = envelope.original_content or b""
        self._last_id += 1
        self.mails.append(read_mail(self._last_id, content, list(envelope.rcpt_tos)))
        return f"250 2.0.0 Kept as message {self._last_id}"

    def find(self, mail_id: int) -> Mail | None:
        return next((mail for mail in self.mails if mail.id == mail_id), None)


@dataclass(frozen=True)
class Account:
    """Who may send."""

    user: str
    password: str

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        matches = (
            mechanism in {"LOGIN", "PLAIN"}
            and isinstance(data, LoginPassword)
            and hmac.compare_digest(data.login, self.user.encode())
            and hmac.compare_digest(data.password, self.password.encode())
        )
        return AuthResult(success=matches, handled=False)


class Pages:
    """The HTTP side."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def list_mails(self, _request: Request) -> Response:
        return JSONResponse([mail.to_json() for mail in self._mailbox.mails])

    async def read_mail(self, request: Request) -> Response:
        mail = self._mailbox.find(request.path_params["mail_id"])
        return JSONResponse(mail.to_json()) if mail else _miss(request)

    async def delete_mails(self, _request: Request) -> Response:
        count = len(self._mailbox.mails)
        self._mailbox.mails.clear()
        return JSONResponse({"deleted": count})

    async def set_faults(self, request: Request) -> Response:
        try:
            body = await request.json()
        except json.JSONDecodeError as error:
            return JSONResponse({"error": f"not JSON: {error}"}, 400)
        count = body.get("refuse_next") if isinstance(body, dict) else None
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            return JSONResponse({"error": "refuse_next must be a number, 0 or more"}, 400)
        self._mailbox.refuse_next = count
        return JSONResponse({"refuse_next": count})

    async def show_list(self, _request: Request) -> Response:
        rows = "".join(
            f"<tr><td>{escape(mail.date)}</td><td>{escape(mail.sender)}</td><td>{escape(', '.join(mail.to))}</td>"
            f'<td><a href="/view/{mail.id}">{escape(mail.subject) or "(no subject)"}</a></td></tr>'
            for mail in reversed(self._mailbox.mails)
        )
        table = f"<table><tr><th>Date</th><th>From</th><th>To</th><th>Subject</th></tr>{rows}</table>"
        return _page(f"Mailbox: {len(self._mailbox.mails)} messages", table)

    async def show_mail(self, request: Request) -> Response:
        mail = self._mailbox.find(request.path_params["mail_id"])
        if mail is None:
            return _page("There is no such message", '<p><a href="/">All messages</a></p>', 404)
        head = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in mail.headers.items()
        )
        body = f"<pre>{escape(mail.text)}</pre>" if mail.text else ""
        if mail.html:  # sandbox without allowances: no script, no form, no access to this page
            body += f'<iframe sandbox="" title="HTML body" srcdoc="{escape(mail.html)}"></iframe>'
        title = mail.subject or "(no subject)"
        return _page(title, f'<p><a href="/">All messages</a></p><table>{head}</table>{body}')


def _miss(request: Request) -> Response:
    return JSONResponse({"error": f"{request.url.path} was not found"}, 404)


def _page(title: str, body: str, status: int = 200) -> Response:
    heading = escape(title)
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{heading}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{heading}</h1>{body}</body></html>"
    )
    headers = {"Content-Security-Policy": _CONTENT_POLICY, "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(page, status, headers)


async def _serve_health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def build_app(mailbox: Mailbox, start: Start) -> Starlette:
    """Returns the HTTP application; it starts and stops the SMTP side with itself."""
    pages = Pages(mailbox)

    @contextlib.asynccontextmanager
    async def run_smtp(_app: Starlette) -> AsyncGenerator[None]:
        loop = asyncio.get_running_loop()
        smtp = await loop.create_server(lambda: _build_smtp(mailbox, start.account, loop), sock=start.smtp)
        print(f"mailbox listening on {_name(start.http)} (smtp {_name(start.smtp)})", file=sys.stderr, flush=True)
        yield
        smtp.close()

    routes = [
        Route("/", pages.show_list),
        Route("/view/{mail_id:int}", pages.show_mail),
        Route("/messages", pages.list_mails),
        Route("/messages", pages.delete_mails, methods=["DELETE"]),
        Route("/messages/{mail_id:int}", pages.read_mail),
        Route("/_faults", pages.set_faults, methods=["POST"]),
        Route("/healthz", _serve_health),
    ]
    return Starlette(routes=routes, lifespan=run_smtp)


@dataclass(frozen=True)
class Start:
    """What the process was started with: two bound sockets, and who may send (None: everybody)."""

    http: socket.socket
    smtp: socket.socket
    account: Account | None


def _name(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{host}:{port}"


def _build_smtp(mailbox: Mailbox, account: Account | None, loop: asyncio.AbstractEventLoop) -> SMTP:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # passwords without TLS: nothing leaves the loopback
        return SMTP(
            mailbox,
            hostname="localhost",
            ident="ARGO mailbox",
            data_size_limit=_MAX_MESSAGE_BYTES,
            enable_SMTPUTF8=True,
            auth_required=account is not None,
            auth_require_tls=False,
            authenticator=account.authenticate if account else None,
            loop=loop,
        )


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emulators.mailbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="HTTP; 0 takes a free one")
    parser.add_argument("--smtp-port", type=int, default=0, help="SMTP; 0 takes a free one")
    arguments = parser.parse_args()
    user, password = os.environ.get("MAILBOX_USER"), os.environ.get("MAILBOX_PASSWORD")
    if bool(user) != bool(password):
        parser.error("set both MAILBOX_USER and MAILBOX_PASSWORD, or neither")
    start = Start(
        http=socket.create_server((arguments.host, arguments.port), backlog=128),
        smtp=socket.create_server((arguments.host, arguments.smtp_port), backlog=128),
        account=Account(user, password) if user and password else None,
    )
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd warns at each connection, see _build_smtp
    # uvicorn ends by raising the signal again, for whoever had it before.
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    config = uvicorn.Config(
        build_app(Mailbox(), start),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[start.http])


if __name__ == "__main__":
    main()
