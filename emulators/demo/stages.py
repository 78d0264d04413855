"""The demo's stages, each following the events one store further. A stage returns what it saw, or raises StageError.

Everything is seen from outside: over HTTP, with Google's clients and the neo4j driver. The suite's code is not called.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from emulators.demo.clients import Outside, StageError
from emulators.demo.sample import Message, Sample, read_sample

BATCH = 100  # Segment's SDKs send up to 100 events a request
Report = dict[str, Any]
Stage = Callable[[Outside, Report], None]


def replay(outside: Outside, report: Report) -> None:
    """Post the sample through collect, as Segment's SDK would."""
    sample = read_sample(datetime.now(UTC))
    accepted = 0
    for start in range(0, len(sample.messages), BATCH):
        accepted += _post_batch(outside, sample.messages[start : start + BATCH])
        outside.tell(f"{accepted:,} of {len(sample.messages):,} events accepted")
    report["events_sent"] = len(sample.messages)
    report["customers"] = sample.customers
    report["sample"] = _describe_sample(sample)
    if accepted != len(sample.messages):
        raise StageError(
            f"collect accepted {accepted} of {len(sample.messages)} events", "query argo.invalid_events for the reasons"
        )


def find_in_warehouse(outside: Outside, report: Report) -> None:
    """Wait until the native subscription has brought every event to BigQuery, each once in the view."""
    seen = outside.wait_for(
        "events in BigQuery",
        lambda: outside.count("SELECT COUNT(DISTINCT event_id) FROM argo.interactions WHERE library = 'argo-demo 1'"),
        lambda count: count >= report["events_sent"],
        seconds=60,
    )
    report["events_in_bigquery"] = seen
    report["duplicates_in_view"] = outside.count("SELECT COUNT(*) - COUNT(DISTINCT event_id) FROM argo.interactions")
    report["rows_in_table"] = outside.count("SELECT COUNT(*) FROM argo.user_interactions")
    report["events_by_type"] = outside.query(
        "SELECT event_type, COUNT(*) AS events FROM argo.interactions GROUP BY event_type ORDER BY events DESC"
    )
    report["events_by_day"] = outside.query(
        "SELECT CAST(DATE(event_timestamp) AS STRING) AS day, COUNT(*) AS events FROM argo.interactions "
        "GROUP BY day ORDER BY day"
    )
    if report["duplicates_in_view"]:
        raise StageError(
            f"{report['duplicates_in_view']} events are twice in argo.interactions", "a bug: please report"
        )


def relate(outside: Outside, report: Report) -> None:
    """Run find_relations and sync_graph, and count what the graph holds."""
    report["find_relations"] = outside.run_job("find_relations")
    report["sync_graph"] = outside.run_job("sync_graph")
    for key, label in (("graph_users", "User"), ("graph_events", "Event"), ("graph_products", "Product")):
        (row,) = outside.cypher(f"MATCH (n:{label}) RETURN count(n) AS n")
        report[key] = row["n"]
    (row,) = outside.cypher("MATCH (:Product)-[r:BOUGHT_WITH|VIEWED_WITH|THEN]->(:Product) RETURN count(r) AS n")
    report["graph_relations"] = row["n"]
    if report["graph_events"] < report["events_sent"]:
        missing = report["events_sent"] - report["graph_events"]
        raise StageError(f"{missing} events are not in the graph", "run: make job NAME=sync_graph")


def train(outside: Outside, report: Report) -> None:
    """Run train_candidates and count; then what brings candidates to where recommend reads them."""
    report["train_candidates"] = outside.run_job("train_candidates")
    report["candidates"] = outside.count("SELECT COUNT(*) FROM argo.current_candidates")
    report["users_with_candidates"] = outside.count("SELECT COUNT(DISTINCT user_id) FROM argo.current_candidates")
    if not report["candidates"]:
        raise StageError("the job wrote no candidates", "run: make job NAME=train_candidates")
    report["publish_serving"] = outside.run_job("publish_serving")


def detect(outside: Outside, report: Report) -> None:
    """Run detect_moments and wait until the moments are rows."""
    report["detect_moments"] = outside.run_job("detect_moments")
    report["moments"] = outside.wait_for(
        "moments in BigQuery",
        lambda: outside.count("SELECT COUNT(DISTINCT moment_id) FROM argo.moments"),
        lambda count: count > 0,
        seconds=30,
    )


def follow_swarm(outside: Outside, report: Report) -> None:
    """Wait until every moment's task has ended, and count the words that were said."""
    task_states = (
        "SELECT (SELECT COUNT(DISTINCT moment_id) FROM argo.moments WHERE moment_id NOT IN "
        "(SELECT moment_id FROM argo.tasks WHERE moment_id IS NOT NULL)) AS not_started, "
        "COUNTIF(ended IS NULL) AS running, COUNTIF(status = 'COMPLETED') AS completed, "
        "COUNTIF(status = 'FAILED') AS failed FROM argo.tasks"
    )
    states = outside.wait_for(
        "tasks",
        lambda: outside.query(task_states)[0],
        lambda row: not row["not_started"] and not row["running"] and row["completed"] + row["failed"] > 0,
        seconds=90,
    )
    report["tasks"] = {key: int(states[key]) for key in ("completed", "failed")}
    report["agent_messages"] = outside.count("SELECT COUNT(*) FROM argo.agent_messages")
    if not report["tasks"]["completed"]:
        raise StageError("no task was completed", "query argo.agent_messages for the reasons of FAILED steps")


def read_mail(outside: Outside, report: Report) -> None:
    """Wait until every action's outcome came back as an event, and take the email whose story the report tells."""
    # act reports an outcome through collect like any client: email_sent, email_skipped or email_failed.
    outcomes = outside.wait_for(
        "actions' outcomes",
        lambda: outside.query(
            "SELECT COUNT(DISTINCT action_id) AS actions, (SELECT COUNTIF(event_type LIKE 'email_%') "
            "FROM argo.interactions) AS outcomes, (SELECT COUNTIF(event_type = 'email_sent') "
            "FROM argo.interactions) AS sent FROM argo.actions"
        )[0],
        lambda row: row["outcomes"] >= row["actions"] > 0,
        seconds=60,
    )
    mails = outside.mailbox()
    report["emails"] = len(mails)
    report["actions"] = int(outcomes["actions"])
    report["emails_skipped"] = int(outcomes["outcomes"] - outcomes["sent"])
    if not mails:
        raise StageError("no email reached the mailbox", "query argo.interactions for email_skipped and its reason")
    rows = outside.query(
        "SELECT a.user_id, a.product_id, a.task_id, a.moment_id, r.reason, r.chosen_by, m.kind AS moment, "
        "TO_JSON_STRING(r.evidence) AS evidence, p.name AS product_name "
        "FROM argo.actions AS a "
        "JOIN argo.recommendations AS r ON r.task_id = a.task_id "
        "JOIN argo.moments AS m ON m.moment_id = a.moment_id "
        "JOIN argo.interactions AS e ON e.event_type = 'email_sent' "
        "AND JSON_VALUE(e.properties, '$.action_id') = a.action_id "
        "LEFT JOIN argo.product_catalog AS p ON p.product_id = a.product_id "
        "WHERE m.kind = 'lapsed_buyer' ORDER BY a.user_id LIMIT 1"
    )
    if not rows:
        raise StageError(
            "no email's action has its recommendation in BigQuery", "query argo.actions and argo.recommendations"
        )
    story = rows[0]
    report["recommendation"] = {
        "user": story["user_id"],
        "product": story["product_name"] or story["product_id"],
        "product_id": story["product_id"],
        "reason": story["reason"],
        "chosen_by": story["chosen_by"],
        "moment": story["moment"],
        "paths": _find_paths(story["evidence"], story["product_id"]),
    }
    report["task_id"] = story["task_id"]
    mine = [mail for mail in mails if story["user_id"] in str(mail["to"])]
    report["email"] = {key: mine[0][key] for key in ("to", "subject", "text", "html")} if mine else None
    report["conversation"] = outside.query(
        "SELECT CAST(timestamp AS STRING) AS at, sourceAgent AS source_agent, targetAgent AS target_agent, "
        "action, kind, status "
        "FROM argo.agent_messages WHERE parentTaskId = @task OR taskId = @task ORDER BY timestamp",
        task=story["task_id"],
    )
    if report["email"] is None:
        raise StageError(f"the email to {story['user_id']} is not in the mailbox", "look into logs/act.log")


def read_profile(outside: Outside, report: Report) -> None:
    """Wait until every customer has a live profile, and show the one of the email's person."""
    users = outside.profiles.collection("users")
    report["profile_updates"] = outside.wait_for(
        "profiles in Firestore",
        lambda: sum(1 for _ in users.select(["updatedAt"]).stream(timeout=30)),
        lambda count: count >= report["customers"],
        seconds=60,
    )
    snapshot = users.document(report["recommendation"]["user"]).get(timeout=30)
    report["profile"] = (snapshot.to_dict() or {}).get("fields", {})
    if not report["profile"]:
        raise StageError("the person's profile is empty", "look into logs/profiles.log")


def measure(outside: Outside, report: Report) -> None:
    """Read the latest row of every KPI view."""
    names = outside.query(
        "SELECT table_name FROM argo.INFORMATION_SCHEMA.TABLES WHERE table_name LIKE 'kpi%' ORDER BY table_name"
    )
    kpis: Report = {}
    for row in names:
        name = row["table_name"]
        rows = outside.query(f"SELECT * FROM argo.{name} ORDER BY day DESC LIMIT 1")  # noqa: S608  # our own view's name
        kpis[name.removeprefix("kpi_")] = rows[0] if rows else None
    report["kpis"] = kpis
    if not kpis:
        raise StageError("no KPI view was found in argo", "look into logs/setup.log")


STAGES: dict[str, Stage] = {
    "replay": replay,
    "warehouse": find_in_warehouse,
    "graph": relate,
    "candidates": train,
    "moments": detect,
    "swarm": follow_swarm,
    "email": read_mail,
    "profile": read_profile,
    "kpis": measure,
}


def _post_batch(outside: Outside, messages: list[Message]) -> int:
    env = outside.cloud.env
    body = {"batch": messages, "sentAt": datetime.now(UTC).isoformat(), "writeKey": env["ARGO_WRITE_KEY"]}
    answer = outside.http.post(f"{env['ARGO_COLLECT_URL']}/v1/batch", json=body)
    if answer.status_code != 200:
        raise StageError(f"collect answered {answer.status_code}: {answer.text[:300]}", "look into logs/collect.log")
    return int(answer.json()["accepted"])


def _find_paths(evidence: str, product_id: str) -> list[str]:
    """The graph's paths to the chosen product, from the candidates that were handed to the model."""
    handed_over: Report = json.loads(evidence)
    chosen = [item for item in handed_over["candidates"] if item["productId"] == product_id]
    return chosen[0]["paths"] if chosen else []


def _describe_sample(sample: Sample) -> str:
    return (
        f"{sample.lines:,} invoice lines of UCI Online Retail (Chen 2015, CC BY 4.0) as {len(sample.messages):,} "
        f"events of {sample.customers:,} customers and of guests; {sample.lines_left_out:,} lines without a product "
        "or a price are left out"
    )
