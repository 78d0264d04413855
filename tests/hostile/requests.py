"""Hypothesis strategies for whole HTTP requests to collect, as bytes on the wire."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.hostile.values import cloudevents, damage, encode, events, texts, values

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
def requests(draw: st.DrawFn, key: str) -> Wire:
    """One request: any method, path, headers and body, or no HTTP at all."""
    if draw(st.integers(0, 19)) == 0:
        return Wire(data=draw(broken_http(key)), is_http=False)
    body = draw(bodies(key))
    headers = draw(header_lists(key))
    method, path = draw(st.sampled_from(_METHODS)), draw(st.sampled_from(_PATHS) | pixels(key))
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n".encode("latin-1", "replace")
    lines = b"".join(f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers)
    is_http = method not in ("", "CONNECT") and path.startswith("/")
    return Wire(data=head + lines + f"Content-Length: {len(body)}\r\n\r\n".encode() + body, is_http=is_http)


@st.composite
def bodies(draw: st.DrawFn, key: str) -> bytes:
    """The body of any of the protocols, whole or damaged."""
    kind = draw(st.integers(0, 4))
    if kind == 0:
        body = encode({**draw(as_objects(events())), "writeKey": key})
    elif kind == 1:
        body = encode(draw(st.lists(cloudevents(), max_size=3) | cloudevents()))
    elif kind == 2:
        body = encode({"batch": draw(values), "writeKey": draw(st.just(key) | values), "sentAt": draw(values)})
    else:
        extra = draw(st.dictionaries(st.sampled_from(["context", "sentAt", "integrations"]), values, max_size=2))
        body = encode({"batch": draw(st.lists(events(), max_size=5)), "writeKey": key, **extra})
    return draw(damage(body))


@st.composite
def header_lists(draw: st.DrawFn, key: str) -> list[tuple[str, str]]:
    """Headers with the key in one of its places, CloudEvents' attributes, and what proxies and browsers add."""
    token = base64.b64encode(f"{key}:".encode()).decode()
    headers = [("X-Write-Key", key)] if draw(st.integers(0, 4)) else []
    headers.append(("Content-Type", draw(st.sampled_from(_TYPES))))
    encoding = draw(st.sampled_from(_ENCODINGS))
    headers += [("Content-Encoding", encoding)] if encoding else []
    for name in draw(st.lists(st.sampled_from(_CE), max_size=5)):
        value = draw(
            st.sampled_from(["1.0", "", "%ff", "%F0%9F%98%80", '"quoted \\" "', "a%zz", "%00", "x" * 2000, "/s"])
        )
        headers.append((f"ce-{name}", value))
    odd = [
        ("Authorization", f"Basic {token}"), ("Authorization", "Basic ###"), ("Authorization", "Bearer \xff"),
        ("Origin", "https://shop.example"), ("Origin", "null"), ("X-Forwarded-For", "1.2.3.4, ::1, x"),
        ("User-Agent", "\xfc" * 600), ("traceparent", "00-zz"), ("X-Cloud-Trace-Context", "/;o="), ("Cookie", "a=" * 500),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("DNT", "?"), ("Sec-GPC", "2"),
        ("X-AppEngine-CityLatLong", "999,abc"), ("X-Client-Geo-Location", "\xff,"), ("Access-Control-Request-Headers", "\xe9"),
    ]  # fmt: skip
    return headers + draw(st.lists(st.sampled_from(odd), max_size=3))


@st.composite
def pixels(draw: st.DrawFn, key: str) -> str:
    """A pixel's address with data of any kind."""
    data = draw(damage(encode({**draw(as_objects(events())), "writeKey": key})))[:3000]
    query = draw(st.sampled_from([f"data={quote(base64.b64encode(data))}", f"data={quote(data)}", "a.b=1&a=2&a.b.c=3"]))
    return f"/v1/pixel/{draw(st.sampled_from(['track', 'page', 't', 'batch', '%00']))}?{query}"


def as_objects(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """What of a strategy is an object; the rest as the value of a key."""
    return strategy.map(lambda value: value if isinstance(value, dict) else {"event": value})


@st.composite
def broken_http(draw: st.DrawFn, key: str) -> bytes:
    """What a broken client, a scanner or an attacker sends to the port."""
    body = encode({"batch": [], "writeKey": key})
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
        draw(texts).encode("utf-8", "surrogatepass"), draw(st.binary(max_size=300)),
    ]  # fmt: skip
    return draw(st.sampled_from(lines))
