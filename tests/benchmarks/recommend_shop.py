"""A shop for the recommender's benchmarks: people with tastes, a catalogue, a hundred days of events, candidates.

Owns what is made up, and brings it to the laptop's stores by load jobs and the suite's own jobs. Only the candidates are
written as a training run would write them (training so many people takes longer than all the rest; NAME=training measures it).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from agents.tools.whole_tables import BigQueryTables
from emulators.cloud import LaptopCloud
from schemas.rows import Candidate, Interaction, Product

LOAD_ROWS = 50_000
CANDIDATES = 100
VISIT_EVENTS = 5
JOBS = ("find_relations", "sync_graph", "publish_serving")
WRITER = "forget"  # the job that may write both tables; the benchmark writes as it


@dataclass(frozen=True, kw_only=True)
class Size:
    """How big. Products are in categories of `category_products`."""

    people: int = 10_000
    products: int = 5_000
    events: int = 200_000
    category_products: int = 50

    @property
    def categories(self) -> int:
        """How many categories there are."""
        return max(1, self.products // self.category_products)


class Shop:
    """Everything is drawn from one seed: the same shop every time, but for the day it ends on."""

    def __init__(self, size: Size, now: datetime, seed: int = 7) -> None:
        self.size, self.now = size, now
        self._draw = np.random.default_rng(seed)
        self._tastes = self._draw.integers(0, size.categories, (size.people, 2))
        shares = 1 / np.arange(1, size.category_products + 1) ** 0.8
        self._shares = shares / shares.sum()

    def person(self, number: int) -> str:
        """A person's id."""
        return f"u{number:05}"

    def product(self, number: int) -> Product:
        """One product of the catalogue."""
        category = number // self.size.category_products
        return Product(
            product_id=f"p{number:05}",
            name=f"ARTICLE {number:05} OF RANGE {category}",
            category=f"Range {category}",
            price=Decimal(100 + number % 900) / 100,
        )

    def events(self) -> Iterator[Interaction]:
        """Visits of five touches each, the last of every third one an order of what was touched before."""
        visits = self.size.events // VISIT_EVENTS
        people = self._draw.integers(0, self.size.people, visits)
        ages = np.sort(self._draw.uniform(0, 100 * 86_400, visits))[::-1]
        for visit in range(visits):
            products = self._visit(int(people[visit]))
            at = self.now - timedelta(seconds=float(ages[visit]) + 60)
            for step in range(VISIT_EVENTS):
                is_order = visit % 3 == 0 and step == VISIT_EVENTS - 1
                yield Interaction(
                    event_id=f"{visit}-{step}",
                    event_type="order_completed" if is_order else "product_viewed",
                    event_timestamp=at + timedelta(seconds=step * 10),
                    received_at=self.now - timedelta(seconds=3600 * (1 - visit / visits)),
                    source="bench",
                    user_id=self.person(int(people[visit])),
                    session_id=f"v{visit}",
                    order_id=f"o{visit}" if is_order else None,
                    products=products[:3] if is_order else [products[step]],
                )

    def candidates(self) -> Iterator[Candidate]:
        """A hundred of each person's tastes, the popular ones first."""
        version = (self.now - timedelta(hours=6)).isoformat()
        for person in range(self.size.people):
            pool = [*self._range(int(self._tastes[person, 0])), *self._range(int(self._tastes[person, 1]))]
            order = np.argsort(np.arange(len(pool)) % self.size.category_products + self._draw.normal(0, 20, len(pool)))
            best = list(dict.fromkeys(pool[place] for place in order))[:CANDIDATES]
            for rank, number in enumerate(best, start=1):
                yield Candidate(
                    user_id=self.person(person),
                    product_id=f"p{number:05}",
                    rank=rank,
                    score=round(1 / rank, 6),
                    version=version,
                    trained_at=self.now - timedelta(hours=6),
                )

    def sample(self, draw: random.Random, count: int) -> list[str]:
        """Ids of different products that somebody of one taste may have touched."""
        inside = self._range(draw.randrange(self.size.categories))
        places = draw.choices(range(len(inside)), self._shares.tolist(), k=count * 4)
        return [f"p{inside[place]:05}" for place in dict.fromkeys(places)][:count]

    def _visit(self, person: int) -> list[Product]:
        taste = int(self._tastes[person, self._draw.integers(0, 2)])
        places = self._draw.choice(self.size.category_products, VISIT_EVENTS, p=self._shares)
        strange = self._draw.random(VISIT_EVENTS) < 0.15
        anywhere = self._draw.integers(0, self.size.products, VISIT_EVENTS)
        inside = self._range(taste)
        return [
            self.product(int(other) if is_strange else inside[int(place)])
            for place, is_strange, other in zip(places, strange, anywhere, strict=True)
        ]

    def _range(self, category: int) -> range:
        first = category * self.size.category_products
        return range(first, min(first + self.size.category_products, self.size.products))


def fill(cloud: LaptopCloud, shop: Shop, say: Callable[[str], None]) -> None:
    """Load events and candidates, then run the jobs that a night would; the environment must be the cloud's, as WRITER."""
    tables = BigQueryTables()
    for table, rows in (("user_interactions", shop.events()), ("candidates", shop.candidates())):
        count = 0
        while part := [row for _, row in zip(range(LOAD_ROWS), rows, strict=False)]:
            count += tables.load_rows(table, part)
            say(f"{table}: {count} rows loaded")
    for job in JOBS:
        done = cloud.run_job(job)
        if done.returncode:
            raise RuntimeError(f"job {job} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        say((done.stderr.strip().splitlines() or [job])[-1])


def make_shop(size: Size) -> Shop:
    """The shop as of now."""
    return Shop(size, datetime.now(UTC))
