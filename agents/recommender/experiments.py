"""Which variant of an experiment a person gets (experiments.yaml): by a hash, so always the same, without asking any store.

Owns the file's shape and the assignment; what came of it, the view experiment_results says. Pure but for reading the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.places import Problem, read_places

PATH = Path(__file__).with_name("experiments.yaml")


class ExperimentError(ValueError):
    """The experiments are not usable; the message names file, line, experiment and fix."""


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one group gets; what is not set is as without an experiment."""

    share: Annotated[float, Meta(gt=0)]
    path_weight: Annotated[float, Meta(ge=0, le=5)] | None = None
    use_model: bool | None = None


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One experiment; one of its variants is `control`."""

    running: bool
    about: str
    variants: Annotated[dict[str, Variant], Meta(min_length=2)]


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """The experiment, the variant's name, and the variant."""

    experiment: str
    name: str
    variant: Variant


def parse(text: str, file: str) -> dict[str, Experiment]:
    """Read and check experiments.

    Raises:
        ExperimentError: what is wrong where.
    """
    places = read_places(text, file, ExperimentError)
    found = places.convert(dict[str, Experiment])
    places.refuse(_find_problems(found))
    return found


def _find_problems(found: Mapping[str, Experiment]) -> Iterator[Problem]:
    running = [name for name, experiment in found.items() if experiment.running]
    if len(running) > 1:
        text = f"{', '.join(running)} are running at once; let one of them run"
        yield Problem(path=(running[-1], "running"), text=text)
    for name, experiment in found.items():
        if "control" not in experiment.variants:
            text = "has no variant `control` to compare the others with; add it"
            yield Problem(path=(name, "variants"), text=text)


@cache
def load() -> Mapping[str, Experiment]:
    """The suite's own experiments."""
    return parse(PATH.read_text(encoding="utf-8"), PATH.name)


def assign(person: str, experiments: Mapping[str, Experiment]) -> Assignment | None:
    """The person's variant of the running experiment; None when none runs or nobody is known."""
    running = [(name, experiment) for name, experiment in experiments.items() if experiment.running]
    if not running or not person:
        return None
    ((name, experiment),) = running
    # The experiment's name is in the hash: the groups of two experiments have nothing to do with each other.
    digest = hashlib.sha256(f"{name}\x1f{person}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64 * sum(one.share for one in experiment.variants.values())
    for name_of_variant, variant in experiment.variants.items():
        point -= variant.share
        if point < 0:
            return Assignment(experiment=name, name=name_of_variant, variant=variant)
    return Assignment(
        experiment=name, name="control", variant=experiment.variants["control"]
    )  # rounding, at the very end
