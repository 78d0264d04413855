"""One file through ingest with every port faked."""

import json
from dataclasses import dataclass, field
from typing import Any

from agents.intake.ingestion import NOTIFICATIONS, Notice, Ports, ingest_object
from agents.tools.bulk import FakeBulk
from agents.tools.bus import Outgoing
from agents.tools.landing import FakeLanding
from agents.tools.progress import Checkpoint, FakeProgress, LandedObject
from agents.tools.weather import FakeWeather


@dataclass(kw_only=True)
class World:
    """The ports, kept from one notification to the next."""

    landing: FakeLanding = field(default_factory=FakeLanding)
    bulk: FakeBulk = field(default_factory=FakeBulk)
    progress: FakeProgress = field(default_factory=FakeProgress)
    weather: FakeWeather = field(default_factory=FakeWeather)

    def put(self, name: str, data: bytes | str) -> "World":
        """Store an object."""
        self.landing.objects[name] = data.encode() if isinstance(data, str) else data
        return self

    def notify(self, name: str, *, message_id: str = "m1", generation: int = 1, seconds: float = 300) -> Checkpoint:
        """Deliver one notification."""
        notice = Notice(
            landed=LandedObject(bucket="b", name=name, generation=generation),
            message_id=message_id,
            again=Outgoing(data=b"{}", attributes={"objectId": name}),
            seconds=seconds,
        )
        return ingest_object(
            notice, Ports(landing=self.landing, bulk=self.bulk, progress=self.progress, weather=self.weather)
        )

    def rows(self, topic: str = "user-interactions") -> list[dict[str, Any]]:
        """What a topic got."""
        return [json.loads(message.data) for message in self.bulk.on(topic)]

    def refused(self) -> list[tuple[str, str]]:
        """Where each refused record stands, and its failure."""
        return [(row["origin"].rpartition("#")[2], row["failure"]) for row in self.rows("invalid-events")]

    @property
    def handed_on(self) -> int:
        """How often the file was handed on."""
        return len(self.bulk.on(NOTIFICATIONS))


def ingest(name: str, data: bytes | str) -> World:
    """One object, one notification."""
    world = World().put(name, data)
    world.notify(name)
    return world
