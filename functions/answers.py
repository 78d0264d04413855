"""How functions answer over HTTP: JSON for programs, a plain page for people. What is said is each function's own."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import msgspec
from starlette.responses import HTMLResponse, Response


def answer(status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(body), status_code=status, headers=headers, media_type="application/json")


def answer_page(title: str, body: str, status: int = 200) -> Response:
    """A small page that runs nothing, is kept by nobody and found by no search engine. `body` is HTML, already escaped."""
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta name="robots" content="noindex"><title>{escape(title)}</title></head>'
        '<body style="font:1.1rem/1.6 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem">'
        f"{body}</body></html>",
        status_code=status,
        headers={
            "cache-control": "no-store",
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
        },
    )
