"""Hypothesis strategies for whole HTTP requests to collect, as bytes on the wire."""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from hypothesis import strategies as st

from tests.hostile.values import cloudevents, damage, encode, events, values

FAMILY = 16
_METHODS = ["POST"] * 12 + ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FOO", "post", ""]
_PATHS = [
    "/", "", "/v1/batch", "/v1/b", "/v1/import", "/v1/m", "/v1/track", "/v1/t", "/v1/identify", "/v1/page", "/v1/screen",
    "/v1/group", "/v1/alias", "/v1/events", "/v1/batch/", "//v1//batch", "/v1/%62atch", "/v1/%00", "/v1/%ff", "/v1/../v1/batch",
    "/v1/projects//settings", "/v1/projects/%F0%9F%98%80/settings", "/v1/pixel/track", "/v1/pixel/batch", "/v1/nope",
    "/robots.txt", "/favicon.ico", "*", "http://other/v1/batch", "/v1/batch?writeKey=%ff", "/" + "a" * 3000,
]  # fmt: skip
_TYPES = [
    "application/json", "text/plain", "application/cloudevents+json", "application/cloudevents-batch+json",
    "application/cloudevents+avro", "application/json; charset=utf-16", "multipart/form-data", "\xff\xfe", "",
]  # fmt: skip
_ENCODINGS = ["", "", "", "gzip", "GZIP", "deflate", "br", "gzip, gzip", "identity"]
_CE = ["specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data", "userid", "x" * 200]


@dataclass(frozen=True, kw_only=True)
class Wire:
    """Bytes to send. `is_http` is false when no server could read them as a request, so that silence is an answer too."""

    data: bytes
    is_http: bool = True


@st.composite
def requests(draw: st.DrawFn, key: str) -> list[Wire]:
    """FAMILY requests around the same few events and values: any method, path, headers and body, or no HTTP at all.

    Hypothesis invents the values, which is what it takes its time for; how they are sent is left to a random generator.
    """
    drawn = Drawn(
        events=draw(st.lists(events(), min_size=1, max_size=5)),
        cloudevents=draw(st.lists(cloudevents(), min_size=1, max_size=3)),
        values=draw(st.lists(values, min_size=1, max_size=4)),
        key=key,
        rng=random.Random(draw(st.integers(0, 2**32))),
    )
    return [make_wire(drawn) for _ in range(FAMILY)]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a family of requests is made of."""

    events: list[Any]
    cloudevents: list[Any]
    values: list[Any]
    key: str
    rng: random.Random


def make_wire(drawn: Drawn) -> Wire:
    """One request."""
    rng = drawn.rng
    if rng.randrange(20) == 0:
        return Wire(data=break_http(drawn), is_http=False)
    kind, body = make_body(drawn)
    body = damage(rng, body)
    method, path = rng.choice(_METHODS), rng.choice(_PATHS)
    if rng.randrange(3):
        method, path = "POST", kind
    elif rng.randrange(4) == 0:
        method, path = "GET", make_pixel(drawn)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n".encode("latin-1", "replace")
    headers = make_headers(drawn, structured=kind == "/v1/events")
    lines = b"".join(f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers)
    is_http = method not in ("", "CONNECT") and path.startswith("/")
    return Wire(data=head + lines + f"Content-Length: {len(body)}\r\n\r\n".encode() + body, is_http=is_http)


def make_body(drawn: Drawn) -> tuple[str, bytes]:
    """The body of one of the protocols, with the path that it is for."""
    rng = drawn.rng
    match rng.randrange(5):
        case 0:
            path = rng.choice(["/v1/track", "/v1/i", "/v1/page", "/v1/s", "/v1/group", "/v1/alias"])
            return path, encode({**as_object(rng.choice(drawn.events)), "writeKey": drawn.key})
        case 1:
            return "/v1/events", encode(rng.choice([drawn.cloudevents, drawn.cloudevents[0]]))
        case 2:
            odd = {"batch": rng.choice(drawn.values), "writeKey": rng.choice([drawn.key, *drawn.values])}
            return "/v1/batch", encode({**odd, "sentAt": rng.choice(drawn.values)})
        case _:
            extra = {
                name: rng.choice(drawn.values) for name in rng.sample(["context", "sentAt", "x"], rng.randrange(2))
            }
            return "/v1/batch", encode({"batch": drawn.events, "writeKey": drawn.key, **extra})


def make_headers(drawn: Drawn, *, structured: bool) -> list[tuple[str, str]]:
    """Headers with the key in one of its places, CloudEvents' attributes, and what proxies and browsers add."""
    rng, key = drawn.rng, drawn.key
    headers = [("X-Write-Key", key)] if rng.randrange(8) else []
    usual = ["application/cloudevents+json", "application/cloudevents-batch+json"] if structured else _TYPES[:2]
    headers.append(("Content-Type", rng.choice(usual if rng.randrange(3) else _TYPES)))
    encoding = rng.choice(_ENCODINGS) if rng.randrange(6) == 0 else ""
    headers += [("Content-Encoding", encoding)] if encoding else []
    for name in rng.sample(_CE, rng.choice([0, 0, 3, 5])):
        value = rng.choice(["1.0", "", "%ff", "%F0%9F%98%80", '"quoted \\" "', "a%zz", "%00", "x" * 2000, "/s"])
        headers.append((f"ce-{name}", value))
    token = base64.b64encode(f"{key}:".encode()).decode()
    odd = [
        ("Authorization", f"Basic {token}"), ("Authorization", "Basic ###"), ("Authorization", "Bearer \xff"),
        ("Origin", "https://shop.example"), ("Origin", "null"), ("X-Forwarded-For", "1.2.3.4, ::1, x"),
        ("User-Agent", "\xfc" * 600), ("traceparent", "00-zz"), ("X-Cloud-Trace-Context", "/;o="), ("Cookie", "a=" * 500),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("DNT", "?"), ("Sec-GPC", "2"),
        ("X-Client-Geo-Location", "\xff,"), ("X-Client-Geo-Latlong", "999,abc"), ("Access-Control-Request-Headers", "\xe9"),
    ]  # fmt: skip
    return headers + rng.sample(odd, rng.randrange(4))


def make_pixel(drawn: Drawn) -> str:
    """A pixel's address with data of any kind."""
    rng = drawn.rng
    data = damage(rng, encode({**as_object(rng.choice(drawn.events)), "writeKey": drawn.key}))[:3000]
    query = rng.choice([f"data={quote(base64.b64encode(data))}", f"data={quote(data)}", "a.b=1&a=2&a.b.c=3"])
    return f"/v1/pixel/{rng.choice(['track', 'page', 't', 'batch', '%00'])}?{query}"


def as_object(value: Any) -> dict[str, Any]:
    """An object, or the value as a key's."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"event": value}


def break_http(drawn: Drawn) -> bytes:
    """What a broken client, a scanner or an attacker sends to the port."""
    rng, body = drawn.rng, encode({"batch": [], "writeKey": drawn.key})
    lines = [
        b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n" + body,
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + body,
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
        b"POST /v1/batch HTTP/9.9\r\n\r\n", b"POST /v1/batch HTTP/1.1\r\nBad Header\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        rng.randbytes(300),
    ]  # fmt: skip
    return rng.choice(lines)
