"""Subscriptions: settings, checked and completed as Pub/Sub does, and what they mean for the backlog.

Delivery itself is in `backlog`, the two ways out in `subscriber` (pull) and `push`.
"""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from google.pubsub_v1 import types

from emulators.pubsub import wire
from emulators.pubsub.backlog import Backlog, Rules, Stored
from emulators.pubsub.filters import FilterError, Predicate, parse_filter
from emulators.statuses import invalid

Bury = Callable[["SubscriptionState", Stored, int], bool]

MUTABLE_FIELDS = frozenset(
    {
        "ack_deadline_seconds",
        "bigquery_config",
        "bigtable_config",
        "cloud_storage_config",
        "dead_letter_policy",
        "enable_exactly_once_delivery",
        "expiration_policy",
        "labels",
        "message_retention_duration",
        "message_transforms",
        "push_config",
        "retain_acked_messages",
        "retry_policy",
    }
)

_DAY_SECONDS = 24 * 3600
_ACK_DEADLINES = range(10, 601)
_RETENTION_SECONDS = (600, 31 * _DAY_SECONDS)
_DELIVERY_ATTEMPTS = range(5, 101)
_MAX_BACKOFF_SECONDS = 600
_DEFAULT_MINIMUM_BACKOFF_SECONDS = 10
# Push without a retry policy backs off from 0.1 s to 60 s:
# https://cloud.google.com/pubsub/docs/push#push_backoff, read 2026-11-20.
_PUSH_BACKOFF_SECONDS = (0.1, 60.0)
_PULL_LANE_BATCH = 1000


class SubscriptionState:
    """One subscription: its settings and its backlog."""

    def __init__(self, proto: types.Subscription, bury: Bury) -> None:
        self.proto = proto
        self.name = proto.name
        self._accepts: Predicate = compile_filter(proto.filter)
        self.streams = 0
        self.backlog = Backlog(proto.name, _rules_of(proto), lambda stored, attempts: bury(self, stored, attempts))

    @property
    def is_push(self) -> bool:
        """Whether messages go to an HTTP endpoint."""
        return bool(self.proto.push_config.push_endpoint)

    @property
    def is_export(self) -> bool:
        """Whether the real service would write messages to BigQuery, Bigtable or Cloud Storage."""
        fields = ("bigquery_config", "cloud_storage_config", "bigtable_config")
        return any(wire.is_set(self.proto, field) for field in fields)

    @property
    def retention_seconds(self) -> float:
        """How long messages are kept, acknowledged or not."""
        return wire.seconds_of(self.proto.message_retention_duration)

    def receive(self, messages: Sequence[Stored]) -> None:
        """Takes in published messages, except those that the filter leaves out (which acknowledges them)."""
        if self.is_export:
            return
        taken = messages if self._accepts is accept_all else [stored for stored in messages if self.accepts(stored)]
        if taken:
            self.backlog.add(taken)

    def accepts(self, stored: Stored) -> bool:
        """Says whether the filter lets a message through."""
        return self._accepts(stored.attributes)

    def change(self, proto: types.Subscription) -> None:
        """Puts new settings in force for what is delivered from now on."""
        self.proto = proto
        self.backlog.rules = _rules_of(proto)

    def attempt_of(self, attempts: int) -> int:
        """Returns the delivery attempt as a subscriber sees it: only with a dead letter policy."""
        return attempts if wire.is_set(self.proto, "dead_letter_policy") else 0


def accept_all(attributes: Mapping[str, str]) -> bool:
    """The filter of a subscription without one."""
    del attributes
    return True


def compile_filter(text: str) -> Predicate:
    """Returns the predicate of a filter; refuses one that does not parse."""
    if not text:
        return accept_all
    try:
        return parse_filter(text)
    except FilterError as error:
        raise invalid(f"Invalid filter {text!r}: {error}") from error


def complete_settings(proto: types.Subscription) -> None:
    """Refuses settings out of bounds and fills in Pub/Sub's defaults, in place."""
    compile_filter(proto.filter)
    if proto.ack_deadline_seconds == 0:
        proto.ack_deadline_seconds = 10
    if proto.ack_deadline_seconds not in _ACK_DEADLINES:
        raise invalid("ack_deadline_seconds must be between 10 and 600")
    if not wire.is_set(proto, "message_retention_duration"):
        wire.set_seconds(proto.message_retention_duration, 7 * _DAY_SECONDS)
    shortest, longest = _RETENTION_SECONDS
    if not shortest <= wire.seconds_of(proto.message_retention_duration) <= longest:
        raise invalid("message_retention_duration must be between 10 minutes and 31 days")
    if not wire.is_set(proto, "expiration_policy"):
        wire.set_seconds(proto.expiration_policy.ttl, 31 * _DAY_SECONDS)
    _complete_retry_policy(proto)
    _complete_dead_letter_policy(proto)
    _check_push(proto)
    proto.state = types.Subscription.State.ACTIVE


def _complete_retry_policy(proto: types.Subscription) -> None:
    if not wire.is_set(proto, "retry_policy"):
        return
    policy = proto.retry_policy
    if not wire.is_set(policy, "minimum_backoff"):
        wire.set_seconds(policy.minimum_backoff, _DEFAULT_MINIMUM_BACKOFF_SECONDS)
    if not wire.is_set(policy, "maximum_backoff"):
        wire.set_seconds(policy.maximum_backoff, _MAX_BACKOFF_SECONDS)
    minimum, maximum = wire.seconds_of(policy.minimum_backoff), wire.seconds_of(policy.maximum_backoff)
    if not 0 <= minimum <= maximum <= _MAX_BACKOFF_SECONDS:
        raise invalid("retry_policy needs 0 s <= minimum_backoff <= maximum_backoff <= 600 s")


def _complete_dead_letter_policy(proto: types.Subscription) -> None:
    if not wire.is_set(proto, "dead_letter_policy"):
        return
    policy = proto.dead_letter_policy
    if policy.max_delivery_attempts == 0:
        policy.max_delivery_attempts = 5
    if policy.max_delivery_attempts not in _DELIVERY_ATTEMPTS:
        raise invalid("max_delivery_attempts must be between 5 and 100")


def _check_push(proto: types.Subscription) -> None:
    endpoint = proto.push_config.push_endpoint
    if endpoint:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise invalid(f"Unsupported push_endpoint: {endpoint!r}")
    fields = ("bigquery_config", "cloud_storage_config", "bigtable_config")
    if sum([bool(endpoint), *(wire.is_set(proto, field) for field in fields)]) > 1:
        raise invalid("A subscription delivers in one way only: push, BigQuery, Bigtable or Cloud Storage")


def _rules_of(proto: types.Subscription) -> Rules:
    is_push = bool(proto.push_config.push_endpoint)
    minimum, maximum = _PUSH_BACKOFF_SECONDS if is_push else (0.0, 0.0)
    if wire.is_set(proto, "retry_policy"):
        minimum = wire.seconds_of(proto.retry_policy.minimum_backoff)
        maximum = wire.seconds_of(proto.retry_policy.maximum_backoff)
    return Rules(
        is_ordered=proto.enable_message_ordering,
        minimum_backoff=minimum,
        maximum_backoff=maximum,
        max_attempts=proto.dead_letter_policy.max_delivery_attempts,
        keeps_acked=proto.retain_acked_messages,
        lane_batch=1 if is_push else _PULL_LANE_BATCH,
    )
