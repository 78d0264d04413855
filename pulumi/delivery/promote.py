"""Where a stack's image comes from: `python -m delivery.promote plan STACK`, later `digest STACK`; notes go to FOLDER.

Built once, in the first project that meets this content (dev, or staging for a hotfix), with provenance; then copied by
digest, staging from dev and prod from staging. Prod builds nothing: what staging has not run does not reach customers.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from policy.stacks import read_config

from delivery.canary import run_gcloud
from delivery.content import name_content
from schemas import topology

UPSTREAM = {"staging": "dev", "prod": "staging"}
BUILDERS = {"dev", "staging"}
FOLDER = Path("/workspace/image")
log = logging.getLogger("promote")
Describe = Callable[[str, bool], str]


class NotProven(Exception):
    """The image may not go on: nobody has run it, or nobody can say who built it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`copy_from` is an image by digest, or empty; `build` says that there is none to copy. `target` is by its tag."""

    target: str
    copy_from: str = ""
    build: bool = False


def name_image(stack: str, tag: str) -> str:
    """The image in the stack's own registry."""
    return f"{topology.load().region}-docker.pkg.dev/{read_config(stack)['gcp:project']}/argo/argo:{tag}"


def make_plan(stack: str, tag: str, describe: Describe) -> Plan:
    """What has to be done so that the stack has the image.

    Raises:
        NotProven: prod, and staging has not; or the image before has no provenance.
    """
    target = name_image(stack, tag)
    if describe(target, False):
        return Plan(target=target)
    if stack in UPSTREAM:
        source = name_image(UPSTREAM[stack], tag)
        digest = describe(source, False)
        if digest:
            if not describe(source, True):
                raise NotProven(f"{source} has no provenance: it was not built by Cloud Build")
            return Plan(target=target, copy_from=f"{source.rpartition(':')[0]}@{digest}")
    if stack not in BUILDERS:
        raise NotProven(f"{UPSTREAM[stack]} has never run {tag}; release it there first")
    return Plan(target=target, build=True)


def describe_image(image: str, provenance: bool) -> str:
    """The digest of an image, or with `provenance` who built it; empty when there is none."""
    wanted = ["--show-provenance", "--format=json"] if provenance else ["--format=json"]
    try:
        answer = json.loads(run_gcloud("artifacts", "docker", "images", "describe", image, *wanted, regional=False))
    except RuntimeError as error:
        if "not found" in str(error).lower():
            return ""
        raise
    if provenance:
        return json.dumps(answer.get("provenance_summary", {}).get("provenance") or "").strip('"')
    return str(answer["image_summary"]["digest"])


def write_plan(plan: Plan, folder: Path) -> None:
    """One file per fact; the pipeline's shell steps act on those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "target").write_text(plan.target, encoding="utf-8")
    if plan.copy_from:
        (folder / "copy_from").write_text(plan.copy_from, encoding="utf-8")
    if plan.build:
        (folder / "build").write_text(plan.target.rpartition(":")[2], encoding="utf-8")


def main(arguments: list[str]) -> int:
    """`plan STACK` or `digest STACK`."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    if len(arguments) != 2 or arguments[0] not in {"plan", "digest"}:
        log.error("usage: python -m delivery.promote plan|digest STACK")
        return 2
    verb, stack = arguments
    tag = name_content()
    if verb == "digest":
        target = name_image(stack, tag)
        digest = describe_image(target, provenance=False)
        (FOLDER / "digest").write_text(f"{target.rpartition(':')[0]}@{digest}", encoding="utf-8")
        return 0 if digest else 1
    try:
        plan = make_plan(stack, tag, describe_image)
    except NotProven as reason:
        log.error("%s", reason)
        return 1
    log.info("%s", plan)
    write_plan(plan, FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
