"""How long an event takes from its client to a row of BigQuery, seen by asking BigQuery for what is new."""

import threading
import time

from google.cloud import bigquery

from tests.benchmarks.load import percentile

_LOOK_SECONDS = 0.1  # adds up to as much to every latency


class Watcher(threading.Thread):
    """Notes when the rows of a prefix are first seen in the table."""

    def __init__(self, prefix: str) -> None:
        super().__init__(daemon=True)
        self._prefix = prefix
        self._client = bigquery.Client()
        self._stopping = threading.Event()
        self._last = ""
        self.seen_at: dict[str, float] = {}

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stopping.is_set():
            self._look()
            self._stopping.wait(_LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self.join()

    def wait_for(self, count: int, seconds: float) -> None:
        """Return when so many rows were seen, or time is up."""
        deadline = time.monotonic() + seconds
        while len(self.seen_at) < count and time.monotonic() < deadline:
            time.sleep(0.05)

    def _look(self) -> None:
        # Every tenth event is looked at, so that looking does not become the load.
        sql = (
            "SELECT DISTINCT event_id FROM argo.user_interactions WHERE STARTS_WITH(event_id, @prefix)"
            " AND ENDS_WITH(event_id, '0') AND received_at > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 30 SECOND)"
        )
        parameter = bigquery.ScalarQueryParameter("prefix", "STRING", self._prefix)
        config = bigquery.QueryJobConfig(query_parameters=[parameter], use_query_cache=False)
        found = [row["event_id"] for row in self._client.query(sql, job_config=config).result()]
        now = time.time()
        for event_id in found:
            self.seen_at.setdefault(event_id, now)


def await_rows(count: int, seconds: float) -> None:
    """Return when the table has so many rows, or time is up: what is behind collect must not burden the next run."""
    client, deadline = bigquery.Client(), time.monotonic() + seconds
    config = bigquery.QueryJobConfig(use_query_cache=False)
    while time.monotonic() < deadline:
        (row,) = client.query("SELECT COUNT(*) AS n FROM argo.user_interactions", job_config=config).result()
        if row["n"] >= count:
            return
        time.sleep(0.5)


def measure_latency(sent_at: dict[str, float], seen_at: dict[str, float]) -> dict[str, float]:
    """Percentiles in seconds over the events that were looked at; one that never came counts as endless."""
    wanted = {event_id: at for event_id, at in sent_at.items() if event_id.endswith("0")}
    latencies = [seen_at.get(event_id, float("inf")) - at for event_id, at in wanted.items()]
    missing = sum(event_id not in seen_at for event_id in wanted)
    result = {f"p{percent}_seconds": round(percentile(latencies, percent), 3) for percent in (50, 95, 99)}
    return {**result, "looked_at": len(wanted), "missing": missing}
