"""A profile says the same whatever the order and however often its updates came."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import Poison
from agents.tools import profiles
from agents.tools.profiles import FakeProfiles, document_id, find_unstorable, merge_update, user_id_of
from functions.profiles import handle_delivery
from functions.push import Delivery
from schemas.messages import ProfileUpdate
from tests.unit.swarm import START


def _update(second: int, event: str, **fields: Any) -> ProfileUpdate:
    return ProfileUpdate(user_id="u1", event_id=event, at=START + timedelta(seconds=second), fields=fields)


@pytest.mark.parametrize("seed", range(100))
def test_any_order_and_number_of_deliveries_gives_the_same_document(seed: int) -> None:
    """Prevents: a profile that depends on which instance was faster."""
    chance = random.Random(seed)
    updates = [
        _update(
            chance.randrange(5),  # many ties
            f"e{chance.randrange(100)}-{number}",
            **{chance.choice("abcd"): number for _ in range(chance.randrange(4))},
        )
        for number in range(12)
    ]
    documents: set[bytes] = set()
    for _ in range(5):
        store = FakeProfiles()
        delivered = updates + chance.choices(updates, k=8)
        chance.shuffle(delivered)
        for update in delivered:
            store.apply(update)
        documents.add(msgspec.json.encode(store.read("u1"), order="sorted"))
    assert len(documents) == 1


def test_each_field_keeps_its_latest_value() -> None:
    """Prevents: an old event that overwrites what a newer one said, and a new one that wipes other fields."""
    store = FakeProfiles()
    store.apply(_update(2, "e2", email="new@example.com"))
    store.apply(_update(1, "e1", email="old@example.com", country="KR"))
    profile = store.read("u1")
    assert profile is not None
    assert profile.fields == {"email": "new@example.com", "country": "KR"}
    assert profile.at == {"email": START + timedelta(seconds=2), "country": START + timedelta(seconds=1)}
    assert profile.updated_at == START + timedelta(seconds=2)


def test_of_two_values_at_one_time_the_larger_event_id_stays() -> None:
    """Prevents: two replicas that never agree."""
    both = [_update(1, "e1", a=1), _update(1, "e2", a=2)]
    for first, second in (both, both[::-1]):
        profile = merge_update(merge_update(None, first), second) or merge_update(None, first)
        assert profile is not None
        assert profile.fields == {"a": 2}


def test_an_update_that_says_nothing_new_writes_nothing() -> None:
    """Prevents: a write, and a message to every listening client, for every duplicate."""
    profile = merge_update(None, _update(2, "e2", a=1))
    assert merge_update(profile, _update(2, "e2", a=1)) is None
    assert merge_update(profile, _update(1, "e9", a=3)) is None
    assert merge_update(None, _update(1, "e1")) is None


@given(st.text(min_size=1, max_size=100))
def test_every_user_id_has_its_own_possible_document_id(user_id: str) -> None:
    """Prevents: a person whose id Firestore refuses, or who shares a document with somebody else."""
    encoded = document_id(user_id)
    assert user_id_of(encoded) == user_id
    assert "/" not in encoded
    assert encoded not in {".", ".."}
    assert not (encoded.startswith("__") and encoded.endswith("__"))


@pytest.mark.parametrize(
    "user_id", [".", "..", "__x__", "____", "__", "a/b", "a%2Fb", "%", "12345", "김", "a\nb", "__\n__"]
)
def test_awkward_user_ids_come_back(user_id: str) -> None:
    """Prevents: the known traps of Firestore's ids, each by name."""
    assert user_id_of(document_id(user_id)) == user_id


@pytest.mark.parametrize("user_id", ["", "x" * 1501, "김" * 501])
def test_impossible_user_ids_are_poison(user_id: str) -> None:
    """Prevents: redelivering for days what Firestore never takes."""
    with pytest.raises(Poison):
        document_id(user_id)


@pytest.mark.parametrize(
    "bad", [{"": 1}, {"__x__": 1}, {"a": [[1]]}, {"a": 2**63}, {"a": {"": 1}}, {"a": [{"b": [[1]]}]}]
)
def test_one_impossible_field_does_not_take_the_others_with_it(bad: dict[str, Any]) -> None:
    """Prevents: an odd trait that stops an address from being known; the update is kept as poison all the same."""
    store = FakeProfiles()
    with pytest.raises(Poison, match="Firestore cannot store field"):
        store.apply(_update(1, "e1", email="ann@example.com", **bad))
    profile = store.read("u1")
    assert profile is not None
    assert profile.fields == {"email": "ann@example.com"}


def test_ordinary_values_are_all_possible() -> None:
    """Prevents: a check that refuses what Firestore takes."""
    fields = {"a": [1, {"b": [2]}], "b": {"c": {"d": None}}, "c.d": 1.5, "한글": True, "d": -(2**63)}
    assert find_unstorable(fields) == {}


def test_what_is_no_update_is_poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: redelivering for days what nobody can read."""
    store = FakeProfiles()
    monkeypatch.setattr("functions.profiles.firestore_profiles", lambda: store)
    for data in (b"", b"{}", b'{"userId":"","eventId":"e","at":"2026-11-20T00:00:00Z","fields":{}}'):
        with pytest.raises(Poison):
            handle_delivery(_deliver(data))
    handle_delivery(_deliver(msgspec.json.encode(_update(1, "e1", a=1))))
    assert store.read("u1") is not None
    assert profiles.USERS == "users"


def _deliver(data: bytes) -> Delivery:
    return Delivery(message_id="1", data=data, attributes={}, subscription="s", attempt=1, path="/")
