"""The bundled sample of real shop events as Segment messages. Pure but for reading its own file.

Source, licence, and what is made up: README.md beside this file.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("online_retail_sample.csv.gz")
LINES_PER_EVENT = 100  # keeps the largest invoice's events under Segment's 32 KB
_PRODUCT_CODE = re.compile(r"^(\d{5}|DCGS)")
_LANGUAGES = {"Germany": "de", "Austria": "de", "Switzerland": "de", "France": "fr", "Belgium": "fr", "Spain": "es"}
Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Messages in the order of time, and what was left out of the file."""

    messages: list[Message]
    lines: int
    lines_left_out: int
    customers: int


@dataclass(frozen=True, kw_only=True)
class _Line:
    invoice: str
    code: str
    description: str
    quantity: int
    at: datetime
    price: Decimal
    customer: str
    country: str


def read_sample(now: datetime) -> Sample:
    """The sample with its times moved so that the last event was one hour before `now`."""
    every = list(_read_lines())
    lines = [line for line in every if _PRODUCT_CODE.match(line.code) and line.price > 0]
    shift = now - timedelta(hours=1) - max(line.at for line in lines)
    messages = [_make_identify(line, line.at + shift) for line in _first_lines(lines)]
    for _, group in groupby(lines, key=lambda line: line.invoice):
        messages += _make_orders(list(group), shift)
    messages.sort(key=lambda message: message["timestamp"])
    return Sample(
        messages=messages,
        lines=len(every),
        lines_left_out=len(every) - len(lines),
        customers=len({line.customer for line in lines if line.customer}),
    )


def _read_lines() -> Iterator[_Line]:
    with gzip.open(PATH, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield _Line(
                invoice=row["InvoiceNo"],
                code=row["StockCode"],
                description=row["Description"].strip(),
                quantity=int(row["Quantity"]),
                at=datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=UTC),
                price=Decimal(row["UnitPrice"]),
                customer=row["CustomerID"],
                country=row["Country"],
            )


def _first_lines(lines: list[_Line]) -> list[_Line]:
    first: dict[str, _Line] = {}
    for line in lines:
        if line.customer:
            first.setdefault(line.customer, line)
    return list(first.values())


def _make_identify(line: _Line, at: datetime) -> Message:
    return {
        "type": "identify",
        "messageId": f"identify-{line.customer}",
        "userId": line.customer,
        # Just before the first order: the person is known when it comes.
        "timestamp": (at - timedelta(seconds=1)).isoformat(),
        "traits": {
            "email": f"customer-{line.customer}@example.com",
            "country": line.country,
            "language": _LANGUAGES.get(line.country, "en"),
            "marketingConsent": True,
        },
        "context": _make_context(line),
    }


def _make_orders(lines: list[_Line], shift: timedelta) -> list[Message]:
    cancelled = lines[0].invoice.startswith("C")
    revenue = sum((line.price * abs(line.quantity) for line in lines), Decimal(0))
    messages: list[Message] = []
    for part, start in enumerate(range(0, len(lines), LINES_PER_EVENT)):
        head = lines[0]
        name = "Order Cancelled" if cancelled else "Order Completed"
        person = {"userId": head.customer} if head.customer else {"anonymousId": f"guest-{head.invoice}"}
        properties: Message = {"order_id": head.invoice, "currency": "GBP"}
        if part == 0:
            properties["revenue"] = str(revenue)
        properties["products"] = [_make_product(line) for line in lines[start : start + LINES_PER_EVENT]]
        messages.append(
            {
                "type": "track",
                "event": name if part == 0 else "Order Updated",
                "messageId": f"invoice-{head.invoice}-{part}",
                **person,
                "timestamp": (head.at + shift).isoformat(),
                "properties": properties,
                "context": {**_make_context(head), "sessionId": f"session-{head.invoice}"},
            }
        )
    return messages


def _make_product(line: _Line) -> Message:
    product = {"product_id": line.code, "price": str(line.price), "quantity": abs(line.quantity)}
    return {**product, "name": line.description} if line.description else product


def _make_context(line: _Line) -> Message:
    return {"location": {"country": line.country}, "library": {"name": "argo-demo", "version": "1"}}
