"""What an evaluation has found so far, on disk: hours of a large data set outlive whatever ends the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path

import msgspec


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one split. `seconds`: fitting with the chosen settings; `tuning_seconds` all trials before that.

    `peak_mb`: the process's largest memory while tuning and fitting; `latency_ms`: median time to rank all items for one person.
    """

    name: str
    ndcg_10: float
    ndcg_20: float
    recall_20: float
    hit_rate_10: float
    coverage: float
    novelty: float
    seconds: float
    tuning_seconds: float
    peak_mb: float
    latency_ms: float
    settings: dict[str, float]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a data set: `trials` None is what its size allows."""

    repeats: bool = False
    trials: int | None = None


class _State(msgspec.Struct, kw_only=True):
    question: Question
    events: int
    figures: dict[str, Figures] = {}
    tried: dict[str, float] = {}


class Progress:
    """Figures of models that were measured, and of settings that were tried; every new one is written at once.

    What is there is taken up only on request (`--resume`) and only for the same question about as many events: the code may
    have changed in between, which whoever resumes has to know.
    """

    def __init__(self, path: Path, question: Question, events: int, *, resume: bool) -> None:
        self._path = path
        self._state = _State(question=question, events=events)
        if resume and path.exists():
            found = msgspec.json.decode(path.read_bytes(), type=_State)
            if (found.question, found.events) == (question, events):
                self._state = found
        self.tried: MutableMapping[str, float] = _Kept(self._state.tried, self._write)
        self.resumed = bool(self._state.figures or self._state.tried)

    @property
    def figures(self) -> dict[str, Figures]:
        """Of the models measured, by name."""
        return self._state.figures

    def keep(self, figures: Figures) -> None:
        """Add a model."""
        self._state.figures[figures.name] = figures
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".new")
        written.write_bytes(msgspec.json.encode(self._state))
        written.replace(self._path)  # whole or not at all


class _Kept(MutableMapping[str, float]):
    """A dict that is written on every change."""

    def __init__(self, values: dict[str, float], write: Callable[[], None]) -> None:
        self._values, self._write = values, write

    def __getitem__(self, key: str) -> float:
        return self._values[key]

    def __setitem__(self, key: str, value: float) -> None:
        self._values[key] = value
        self._write()

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
