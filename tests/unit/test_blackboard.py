"""The blackboard keeps its promises on a real Redis and on the fake that other tests trust."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from agents.swarm.tasks import Answers
from agents.tools import blackboard as tool
from agents.tools.blackboard import Blackboard, FakeBlackboard, RedisBlackboard
from agents.tools.settings import settings
from schemas.messages import Status, StepResult
from tests.ports import find_free_port
from tests.unit.redis_server import real, redis_url

__all__ = ["real", "redis_url"]


@pytest.fixture(params=["fake", "redis"])
def board(request: pytest.FixtureRequest) -> Blackboard:
    if request.param == "fake":
        return FakeBlackboard()
    request.getfixturevalue("real")
    return RedisBlackboard()


def test_what_is_put_is_read(board: Blackboard) -> None:
    """Prevents: texts that come back as bytes, cut, or in another order."""
    board.put("a", "가")
    board.put("b", "")
    assert board.get("a") == "가"
    assert board.get_all(["b", "missing", "a"]) == ["", None, "가"]
    assert board.get_all([]) == []


def test_the_first_claim_stays(board: Blackboard) -> None:
    """Prevents: two results of one step, of which each reader sees another."""
    assert board.claim("a", "1") == "1"
    assert board.claim("a", "2") == "1"
    assert board.get("a") == "1"


def test_an_answer_is_set_once(board: Blackboard) -> None:
    """Prevents: an agent that says two different things about one request."""
    answers = Answers(board)
    done, failed = StepResult(status=Status.COMPLETED), StepResult(status=Status.FAILED, reason="late")
    assert answers.find("s1", "UserContextAgent") is None
    assert answers.keep("s1", "UserContextAgent", done) == done
    assert answers.keep("s1", "UserContextAgent", failed) == done
    assert answers.find("s1", "UserContextAgent") == done
    assert board.get("task:s1:status") == "COMPLETED"


def test_facts_are_set_once_and_read_together(board: Blackboard) -> None:
    """Prevents: a fact that changes, and a hash that half returns after Redis was emptied."""
    assert board.learn("t", {"a": "1"}) is None
    assert board.learn("t", {}) is None, "looking creates nothing"
    assert board.learn("t", {"a": "1"}, create=True) == {"a": "1"}
    assert board.learn("t", {"a": "2", "b": "가"}) == {"a": "1", "b": "가"}
    board.forget("t")
    assert board.learn("t", {}) is None


def test_what_is_due_comes_in_order_and_once(board: Blackboard) -> None:
    """Prevents: a task that the clock forgets, or looks at for ever."""
    board.schedule("due", "later", 30.5)
    board.schedule("due", "first", 10)
    board.schedule("due", "moved", 5)
    board.schedule("due", "moved", 20)
    assert board.find_due("due", 25, 10) == [("first", 10.0), ("moved", 20.0)]
    assert board.find_due("due", 25, 1) == [("first", 10.0)]
    board.unschedule("due", "first")
    board.unschedule("due", "first")
    assert board.find_due("due", 100, 10) == [("moved", 20.0), ("later", 30.5)]


@pytest.mark.usefixtures("real")
def test_of_many_answers_at_once_one_handler_sees_all() -> None:
    """Prevents: a fan-in whose last two answers each see only themselves, so that nobody goes on."""
    board = RedisBlackboard()
    for number in range(20):
        key = f"fan-{number}"
        board.learn(key, {"record": "r"}, create=True)
        with ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(board.learn, [key] * 8, [{f"done:{step}": "1"} for step in range(8)]))
        assert max(len(facts or {}) for facts in seen) == 9


@pytest.mark.usefixtures("real")
def test_of_many_claims_at_once_exactly_one_wins() -> None:
    """Prevents: a race that only a real Redis can lose."""
    board = RedisBlackboard()
    with ThreadPoolExecutor(16) as pool:
        held = list(pool.map(board.claim, ["a"] * 200, map(str, range(200))))
    assert len(set(held)) == 1


def test_every_key_expires(real: redis.Redis) -> None:
    """Prevents: a Redis that fills up."""
    board = RedisBlackboard()
    board.put("a", "1")
    board.claim("b", "1")
    board.put("c", "1", ttl_seconds=300)
    assert [86_390 < int(str(real.ttl(key))) <= 86_400 for key in ("a", "b")] == [True, True]
    assert 290 < int(str(real.ttl("c"))) <= 300


def test_only_services_of_the_topology_get_in(real: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a function that reads what the topology does not grant."""
    del real
    monkeypatch.setenv("K_SERVICE", "trace")
    settings.cache_clear()
    with pytest.raises(PermissionError, match="trace may not use the blackboard"):
        RedisBlackboard().get("a")
    monkeypatch.setenv("K_SERVICE", "orchestrate")
    settings.cache_clear()


def test_a_redis_that_is_gone_is_an_error_not_an_empty_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a task that begins anew because Redis could not be asked."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("K_SERVICE", "orchestrate")
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{find_free_port()}/0")
    settings.cache_clear()
    tool.client.cache_clear()
    with pytest.raises(redis.ConnectionError):
        RedisBlackboard().get("a")
    tool.client.cache_clear()
    settings.cache_clear()
