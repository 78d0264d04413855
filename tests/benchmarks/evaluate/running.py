"""One evaluation: a split, every peer tuned and measured on it, then ours by stage. Returns figures; prints and draws nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

import msgspec
import numpy as np
import psutil

from agents.recommender.training import metrics
from agents.recommender.training.events import Events, Ints
from agents.recommender.training.ranking import Model, find_hits, hide_known, rank, take_best
from agents.recommender.training.splitting import Split, make_split, split_at_random, split_by_time
from agents.recommender.training.stages import (
    TRAIN_SHARE,
    Settings,
    choose_settings,
    count_trials,
    fit_stages,
    make_paths,
    make_validation,
)
from agents.recommender.training.tuning import tune
from tests.benchmarks.evaluate.cold import ColdFigures, measure_cold
from tests.benchmarks.evaluate.datasets import DataSet, Unusable
from tests.benchmarks.evaluate.peers import PEERS, Peer
from tests.benchmarks.evaluate.progress import Figures, Progress, Question

CUT = 20
LATENCY_PEOPLE = 100
log = logging.getLogger(__name__)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one run found; written as JSON."""

    data: str
    split: str
    masked: bool
    people: int
    items: int
    train_events: int
    test_people: int
    test_pairs: int
    trials: int
    figures: list[Figures]
    missing: dict[str, str]
    settings: Settings
    cold: list[ColdFigures]
    left_out: dict[str, int]
    best_peer: str
    ratio: float


@dataclass
class _Watch:
    """Samples this process's memory while something runs, on a thread of its own."""

    peak_bytes: int = 0
    seconds: float = 0.0

    def __enter__(self) -> _Watch:
        self._process, self._done, self._started = psutil.Process(), threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._started

    def _sample(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)
            if self._done.wait(0.05):
                return


def split_data(data: DataSet, *, repeats: bool) -> tuple[Split, Events, str]:
    """A split, the held-out events, and how they were held out: as published; else by time, the last fifth of the events."""
    if data.held_out is not None:
        return make_split(data.events, data.held_out, repeats=repeats), data.held_out, "published"
    if not data.events.timed:
        train, test = split_at_random(data.events, TRAIN_SHARE)
        split = make_split(train, test, repeats=repeats)
        return split, test, f"at random, {1 - TRAIN_SHARE:.0%} of each person's events held out: no line has a time"
    train, test = split_by_time(data.events, TRAIN_SHARE)
    split = make_split(train, test, repeats=repeats)
    return split, test, f"by time: the last {1 - TRAIN_SHARE:.0%} of the events held out"


def evaluate(data: DataSet, question: Question, progress: Progress) -> Result:
    """Tune, fit and measure everything on one split of the data set; what `progress` holds already is not done again."""
    repeats, trials = question.repeats, question.trials
    split, test, how = split_data(data, repeats=repeats)
    if not len(split.users):
        raise Unusable(
            f"{data.name}: nobody in the held-out part ({how}) is known from training and wants anything new; "
            "it takes people who come back, and --repeats counts what they touched before"
        )
    validation = make_validation(split.train, repeats=repeats)
    budget = trials or count_trials(split.train)
    log.info("%s: %d people asked of %d, %d items", data.name, len(split.users), *split.train.shape)
    run = _Run(split=split, test=test, validation=validation, budget=budget, tried=progress.tried)
    figures: list[Figures] = []
    for name, peer in PEERS.items():
        if not peer.missing and name not in progress.figures:
            progress.keep(_run_peer(name, peer, run))
        if not peer.missing:
            figures.append(progress.figures[name])
    ours, settings, cold = _run_ours(run)
    best = max(figures, key=lambda one: one.ndcg_20)
    return Result(
        data=data.name,
        split=how,
        masked=not repeats,
        people=split.train.shape[0],
        items=split.train.shape[1],
        train_events=len(split.train),
        test_people=len(split.users),
        test_pairs=int(split.wanted[split.users].nnz),
        trials=budget,
        figures=[*figures, *ours],
        missing={name: peer.missing for name, peer in PEERS.items() if peer.missing},
        settings=settings,
        cold=cold,
        left_out=data.left_out,
        best_peer=best.name,
        ratio=round(ours[-1].ndcg_20 / best.ndcg_20, 4) if best.ndcg_20 else 0.0,
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    split: Split
    test: Events
    validation: Split
    budget: int
    tried: MutableMapping[str, float]


def _run_peer(name: str, peer: Peer, run: _Run) -> Figures:
    split = run.split
    with _Watch() as tuning:
        tuned = tune(name, peer.fit, peer.grid[: run.budget], run.validation, run.tried)
    values = tuned.values if tuned else {}
    with _Watch() as fitting:
        model = peer.fit(split.train, values)
    if model is None:
        raise ValueError(f"{name} cannot be fitted")
    peak = max(tuning.peak_bytes, fitting.peak_bytes)
    return measure_model(name, model, split, _Costs(fitting.seconds, tuning.seconds, peak, values))


def _run_ours(run: _Run) -> tuple[list[Figures], Settings, list[ColdFigures]]:
    split = run.split
    with _Watch() as tuning:
        settings = choose_settings(run.validation, run.budget, run.tried)
    with _Watch() as fitting:
        both = fit_stages(settings, split)
    costs = _Costs(fitting.seconds, tuning.seconds, max(tuning.peak_bytes, fitting.peak_bytes), {})
    stages: dict[str, Model] = {
        "ARGO stage 1 (candidates)": both.stage_1,
        "ARGO stage 2 alone (paths)": make_paths(both.paths, settings, split),
        "ARGO stages 1+2": both,
    }
    figures = [measure_model(name, model, split, costs) for name, model in stages.items()]
    return figures, settings, measure_cold(split, run.test, both)


@dataclass(frozen=True)
class _Costs:
    seconds: float
    tuning_seconds: float
    peak_bytes: int
    settings: dict[str, float]


def measure_model(name: str, model: Model, split: Split, costs: _Costs) -> Figures:
    """Every figure of a fitted model on a split."""
    lists = rank(model, split, CUT)
    hits = find_hits(lists, split.wanted, split.users)
    relevant = np.diff(split.wanted.indptr)[split.users].astype(np.int32)
    share = np.asarray(split.known.sum(axis=0)).ravel() / max(int((np.diff(split.known.indptr) > 0).sum()), 1)
    figures = Figures(
        name=name,
        ndcg_10=_mean(metrics.ndcg, hits, relevant, 10),
        ndcg_20=_mean(metrics.ndcg, hits, relevant, 20),
        recall_20=_mean(metrics.recall, hits, relevant, 20),
        hit_rate_10=_mean(metrics.hit_rate, hits, relevant, 10),
        coverage=round(metrics.coverage(lists, split.train.shape[1], CUT), 4),
        novelty=round(metrics.novelty(lists, np.maximum(share, 1e-9), CUT), 3),
        seconds=round(costs.seconds, 2),
        tuning_seconds=round(costs.tuning_seconds, 2),
        peak_mb=round(costs.peak_bytes / 1e6),
        latency_ms=round(_time_person(model, split), 3),
        settings=dict(costs.settings),
    )
    log.info("%s: NDCG@20 %.4f, recall@20 %.4f", name, figures.ndcg_20, figures.recall_20)
    return figures


def _mean(metric: Callable[..., metrics.Values], hits: metrics.Flags, relevant: Ints, cut: int) -> float:
    return round(float(metric(hits, relevant, cut).mean()), 5)


def _time_person(model: Model, split: Split) -> float:
    """Median milliseconds for one person at a time."""
    times: list[float] = []
    for user in split.users[:: max(1, len(split.users) // LATENCY_PEOPLE)][:LATENCY_PEOPLE]:
        started = time.perf_counter()
        one = np.array([user], dtype=np.int32)
        take_best(hide_known(np.array(model.score(one), np.float32), split, one), CUT)
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1000
