"""A client is built once, however many threads ask for it first."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from agents.tools.once import once


def test_threads_that_come_at_the_same_time_get_the_same_client() -> None:
    built: list[object] = []
    together = threading.Barrier(8)

    @once
    def build() -> object:
        time.sleep(0.02)  # wide enough for the others to come in, were there no lock
        built.append(object())
        return built[-1]

    def ask() -> object:
        together.wait()
        return build()

    with ThreadPoolExecutor(8) as pool:
        found = {id(future.result()) for future in [pool.submit(ask) for _ in range(8)]}
    assert (len(built), len(found)) == (1, 1)


def test_two_builders_never_build_at_the_same_time() -> None:
    inside: list[str] = []
    overlaps: list[list[str]] = []

    def make(name: str) -> object:
        inside.append(name)
        overlaps.append(list(inside))
        time.sleep(0.02)
        inside.remove(name)
        return name

    one, other = once(lambda: make("one")), once(lambda: make("other"))
    with ThreadPoolExecutor(2) as pool:
        assert [pool.submit(build).result() for build in (one, other)] == ["one", "other"]
        one.cache_clear()
        other.cache_clear()
        for future in [pool.submit(one), pool.submit(other)]:
            future.result()
    assert all(len(seen) == 1 for seen in overlaps)
