"""Plays what Google does inside Pub/Sub for BigQuery and Cloud Storage subscriptions: `python -m emulators.native`.

For each of them it pulls from a subscription of the same name, writes, and only then acknowledges. A batch is what has
gathered while the last one was written, so batches grow with the load by themselves. It pulls rather than streams: a
pull's lease is the subscription's own, so what is held here when the process is killed comes back in seconds.
What can never be written goes to the dead-letter topic at once, with the attributes that Google adds after the last
attempt. Where rows and objects go is sinks.py's, what a table takes columns.py's.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import google.auth.exceptions
from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError
from google.cloud import pubsub_v1
from google.pubsub_v1.types import PublishRequest, PullRequest, PullResponse, ReceivedMessage

from emulators.plan import NATIVE_READY
from emulators.setup import NATIVE_DEADLINE_SECONDS
from emulators.sinks import BigQueryWriter, Refusal, StorageWriter, UnavailableError, Writer, format_time
from schemas.messages import fit_attribute
from schemas.topology import Subscription, Topology, parse

ERROR_ATTRIBUTE = "CloudPubSubDeadLetterSourceDeliveryErrorMessage"
_PULL_SECONDS = 2.0  # Google's emulator answers an empty pull one second before the deadline
_CALL_SECONDS = 10.0
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.2, 3.0  # the last, and one failing call, are well below the lease
_DRAIN_SECONDS = 3.0


class Native:
    """One native subscription, from Pub/Sub to its store."""

    def __init__(self, project: str, subscription: Subscription, writer: Writer, stopping: threading.Event) -> None:
        self._subscriber, self._publisher = pubsub_v1.SubscriberClient(), pubsub_v1.PublisherClient()
        self._project, self._subscription, self._writer = project, subscription, writer
        self._path = f"projects/{project}/subscriptions/{subscription.name}"
        self._stopping = stopping

    def serve(self) -> None:
        """Moves messages until told to stop, then what is left, so that a stop loses no time of day."""
        while not self._stopping.is_set():
            moved = self._move(wait=True)
            if moved < self._writer.batch_messages:
                self._stopping.wait(self._writer.pause_seconds if moved else 0.01)
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline and self._move(wait=False):
            continue

    def _move(self, *, wait: bool) -> int:
        try:
            batch = self._gather(wait=wait)
            if batch:
                self._settle(batch)
        except (GoogleAPICallError, google.auth.exceptions.GoogleAuthError) as error:
            self._log(f"Pub/Sub: {type(error).__name__}: {error}")
            self._stopping.wait(1.0)
            return 0
        return len(batch)

    def _gather(self, *, wait: bool) -> list[ReceivedMessage]:
        """What there is, up to one batch; waits a moment for the first message."""
        batch = self._pull(return_immediately=not wait)
        while batch and len(batch) < self._writer.batch_messages:
            more = self._pull(return_immediately=True)
            if not more:
                break
            batch += more
        return batch

    def _pull(self, *, return_immediately: bool) -> list[ReceivedMessage]:
        request = PullRequest(
            subscription=self._path,
            max_messages=min(1000, self._writer.batch_messages),  # 1000 is Pub/Sub's own limit
            return_immediately=return_immediately,
        )
        try:
            answer = self._subscriber.pull(request=request, retry=None, timeout=_PULL_SECONDS)
        except DeadlineExceeded:
            return []
        # The messages below their wrappers, which cost as much as everything else here.
        return list(PullResponse.pb(answer).received_messages)

    def _settle(self, batch: list[ReceivedMessage]) -> None:
        refusals = self._write(batch)
        if refusals is None:
            return
        kept = {refusal.message.ack_id for refusal in refusals if not self._forward(refusal)}
        done = [message.ack_id for message in batch if message.ack_id not in kept]
        if kept:
            self._extend(list(kept), 0)
        if done:
            self._subscriber.acknowledge(subscription=self._path, ack_ids=done, timeout=_CALL_SECONDS)

    def _write(self, batch: Sequence[ReceivedMessage]) -> list[Refusal] | None:
        """Writes until the store has answered for every message; None when told to stop before."""
        pause_seconds, failures = _FIRST_PAUSE_SECONDS, 0
        while True:
            try:
                refusals = self._writer.write(batch)
            except UnavailableError as error:
                failures += 1
                if failures == 1:
                    self._log(f"{len(batch)} messages wait: {error}")
                self._extend([message.ack_id for message in batch], NATIVE_DEADLINE_SECONDS)
                if self._stopping.wait(pause_seconds):
                    return None
                pause_seconds = min(pause_seconds * 2, _LAST_PAUSE_SECONDS)
            else:
                if failures:
                    self._log(f"{len(batch)} messages written after {failures} failed attempts")
                return refusals

    def _forward(self, refusal: Refusal) -> bool:
        """Sends a refused message to the dead letters; False when there are none, so that it must be tried again."""
        message, target = refusal.message.message, self._subscription.dead_letter
        self._log(f"refused {message.message_id}: {refusal.reason}")
        if target is None:
            return False
        extra = {
            "CloudPubSubDeadLetterSourceDeliveryCount": str(target.max_delivery_attempts),
            "CloudPubSubDeadLetterSourceSubscription": self._subscription.name,
            "CloudPubSubDeadLetterSourceSubscriptionProject": self._project,
            "CloudPubSubDeadLetterSourceTopicPublishTime": format_time(message),
            ERROR_ATTRIBUTE: fit_attribute(refusal.reason),
        }
        copy = {"data": message.data, "attributes": {**dict(message.attributes), **extra}}
        request = PublishRequest(topic=f"projects/{self._project}/topics/{target.topic}", messages=[copy])
        self._publisher.api.publish(request=request, timeout=_CALL_SECONDS)
        return True

    def _extend(self, ack_ids: list[str], seconds: int) -> None:
        self._subscriber.modify_ack_deadline(
            subscription=self._path, ack_ids=ack_ids, ack_deadline_seconds=seconds, timeout=_CALL_SECONDS
        )

    def _log(self, line: str) -> None:
        print(f"{self._subscription.name}: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Serves every native subscription until SIGTERM or SIGINT; 1 when one of them has ended by itself."""
    parser = argparse.ArgumentParser(prog="python -m emulators.native", description=__doc__)
    parser.add_argument("--topology", type=Path, required=True)
    topology = parse(parser.parse_args().topology.read_text(encoding="utf-8"))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    threads = [
        threading.Thread(target=native.serve, name=name, daemon=True)
        for name, native in build(topology, os.environ["GOOGLE_CLOUD_PROJECT"], stopping).items()
    ]
    for thread in threads:
        thread.start()
    print(NATIVE_READY, file=sys.stderr, flush=True)
    while not stopping.wait(0.5):
        if not all(thread.is_alive() for thread in threads):
            return 1  # a defect, with its traceback in the log; the supervisor starts all anew
    for thread in threads:
        thread.join(_PULL_SECONDS + _DRAIN_SECONDS)
    return 0


def build(topology: Topology, project: str, stopping: threading.Event) -> dict[str, Native]:
    """Each native subscription of the topology by name."""
    found: dict[str, Native] = {}
    for entry in topology.subscriptions:
        writer: Writer
        if entry.bigquery:
            path = f"projects/{project}/subscriptions/{entry.name}"
            writer = BigQueryWriter(project, topology.dataset, entry.bigquery, path)
        elif entry.storage:
            writer = StorageWriter(project, entry.storage)
        else:
            continue
        found[entry.name] = Native(project, entry, writer, stopping)
    return found


if __name__ == "__main__":
    sys.exit(main())
