"""The job that carries out requests to forget a person, in every store; a run goes on where the last one stopped."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from agents.privacy.forgetting import Desk, carry_out
from agents.privacy.stores import Stores
from agents.tools.documents import firestore_documents
from agents.tools.graph import neo4j
from agents.tools.held import pubsub_held
from agents.tools.keys import redis_keys
from agents.tools.objects import cloud_bucket
from agents.tools.regulations import firestore_regulations
from agents.tools.settings import settings
from agents.tools.suppressions import redis_suppressions
from agents.tools.warehouse import bigquery
from schemas import topology
from schemas.regulations import Status

log = logging.getLogger(__name__)


def run() -> None:
    """One run over everything that is open."""
    started = time.monotonic()
    access = topology.load().access(settings().service)
    stores = Stores(
        warehouse=bigquery(),
        graph=neo4j(),
        documents=firestore_documents(),
        keys=redis_keys(),
        buckets={name: cloud_bucket(name) for name in access.rewrites_buckets},
        held={name: pubsub_held(name) for name in access.pulls},
    )
    desk = Desk(regulations=firestore_regulations(), suppressions=redis_suppressions())
    found = carry_out(desk, stores, datetime.now(UTC))
    for one in found:
        counts = {name: entry.deleted for name, entry in sorted(one.report.items()) if entry.deleted}
        log.info("forget: regulation %s is %s after %d runs: %s", one.id, one.overall_status, one.runs, counts)
    log.info("forget: %d regulations in %.1f s", len(found), time.monotonic() - started)
    failed = [one.id for one in found if one.overall_status is Status.FAILED]
    if failed:
        raise SystemExit(f"forget: not everything could be done for {', '.join(failed)}; the next run goes on")
