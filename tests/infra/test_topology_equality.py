"""The cloud is the topology, in both directions: nothing named there is missing here, nothing here is unnamed there."""

from __future__ import annotations

from policy.graph import Graph
from policy.rules_exposure import read_openapi
from policy.rules_identity import find_variables

from schemas import topology
from schemas.topology import bucket_id

NAMED = topology.load()


def test_topics(graph: Graph) -> None:
    assert graph.names("pubsub/Topic") == {topic.name for topic in NAMED.topics}


def test_buckets(graph: Graph) -> None:
    assert graph.names("storage/Bucket") == {bucket_id(graph.project, bucket.name) for bucket in NAMED.buckets}


def test_secrets(graph: Graph) -> None:
    assert graph.names("secretmanager/Secret", "secretId") == {secret.name for secret in NAMED.secrets}


def test_functions(graph: Graph) -> None:
    """A function finds itself in the topology by its service's name (K_SERVICE)."""
    assert graph.names("cloudrunv2/Service") == {function.name for function in NAMED.functions}


def test_jobs_and_schedules(graph: Graph) -> None:
    wanted = {job.name.replace("_", "-"): job for job in NAMED.jobs}
    assert graph.names("cloudrunv2/Job") == wanted.keys()
    schedules = {entry.get("name"): entry for entry in graph.of("cloudscheduler/Job")}
    timed = {name: job.schedule for name, job in wanted.items() if job.schedule}
    assert {name: entry.get("schedule") for name, entry in schedules.items()} == timed
    for name in timed:
        assert str(schedules[name].get("httpTarget.uri")).endswith(f"/jobs/{name}:run")


def test_a_job_runs_under_the_name_that_the_code_knows(graph: Graph) -> None:
    """Cloud Run's own CLOUD_RUN_JOB has hyphens, and the code would not find its rights."""
    said = {tuple(entry.get("template.template.containers.0.args") or []) for entry in graph.of("cloudrunv2/Job")}
    assert said == {(f"CLOUD_RUN_JOB={job.name}", "python", "-m", "functions.jobs", job.name) for job in NAMED.jobs}


def test_subscriptions(graph: Graph) -> None:
    """Kind, topic, filter, order, retention, retry and dead letter of each subscription."""
    built = {entry.get("name"): entry for entry in graph.of("pubsub/Subscription")}
    assert built.keys() == {entry.name for entry in NAMED.subscriptions}
    prefix = f"projects/{graph.project}/topics/"
    for entry in NAMED.subscriptions:
        found = built[entry.name]
        assert found.get("topic") == prefix + entry.topic
        assert (found.get("filter") or "") == entry.filter
        assert bool(found.get("enableMessageOrdering")) == entry.ordered
        assert found.get("messageRetentionDuration") == f"{entry.retention_seconds}s"
        assert found.get("retryPolicy") == {
            "minimumBackoff": f"{entry.retry.minimum_backoff_seconds}s",
            "maximumBackoff": f"{entry.retry.maximum_backoff_seconds}s",
        }
        dead = entry.dead_letter
        assert found.get("deadLetterPolicy.deadLetterTopic") == (prefix + dead.topic if dead else None)
        assert found.get("deadLetterPolicy.maxDeliveryAttempts") == (dead.max_delivery_attempts if dead else None)


def test_deadlines_are_the_topologys_or_longer(graph: Graph) -> None:
    built = {entry.get("name"): entry.get("ackDeadlineSeconds") for entry in graph.of("pubsub/Subscription")}
    for entry in NAMED.subscriptions:
        timeout = NAMED.function(entry.push.function).timeout_seconds if entry.push else 0
        assert built[entry.name] == max(entry.ack_deadline_seconds, timeout)


def test_pushes_go_to_the_right_function_and_path(graph: Graph) -> None:
    built = {entry.get("name"): entry.get("pushConfig.pushEndpoint") for entry in graph.of("pubsub/Subscription")}
    urls = graph.outputs["function_urls"]
    for entry in NAMED.subscriptions:
        assert built[entry.name] == (urls[entry.push.function] + entry.push.path if entry.push else None)


def test_sinks(graph: Graph) -> None:
    built = {entry.get("name"): entry for entry in graph.of("pubsub/Subscription")}
    for entry in NAMED.subscriptions:
        table, files = built[entry.name].get("bigqueryConfig"), built[entry.name].get("cloudStorageConfig")
        assert (table is not None, files is not None) == (entry.bigquery is not None, entry.storage is not None)
        if entry.bigquery:
            assert table["table"] == f"{graph.project}.{NAMED.dataset}.{entry.bigquery.table}"
            assert table["writeMetadata"] == entry.bigquery.write_metadata
        if entry.storage:
            assert files["bucket"] == bucket_id(graph.project, entry.storage.bucket)
            assert (files["filenamePrefix"], files["filenameSuffix"]) == (entry.storage.prefix, entry.storage.suffix)
            assert (files["maxDuration"], files["maxBytes"]) == (
                f"{entry.storage.max_duration_seconds}s",
                entry.storage.max_bytes,
            )


def test_notifications(graph: Graph) -> None:
    built = {
        (entry.get("bucket"), entry.get("topic"), tuple(entry.get("eventTypes")))
        for entry in graph.of("storage/Notification")
    }
    assert built == {
        (bucket_id(graph.project, bucket.name), f"projects/{graph.project}/topics/{entry.topic}", tuple(entry.events))
        for bucket in NAMED.buckets
        for entry in bucket.notifications
    }


def test_lifecycles(graph: Graph) -> None:
    built = {
        entry.get("name"): [rule["condition"].get("age") for rule in entry.get("lifecycleRules")]
        for entry in graph.of("storage/Bucket")
    }
    for bucket in NAMED.buckets:
        assert built[bucket_id(graph.project, bucket.name)][0] == bucket.lifecycle_days


def test_each_function_runs_its_own_target(graph: Graph) -> None:
    for entry in graph.of("cloudrunv2/Service"):
        function = NAMED.function(entry.get("name"))
        variables = {variable["name"]: variable["value"] for variable in find_variables(entry)}
        assert variables["FUNCTION_TARGET"] == function.target
        assert entry.get("template.timeout") == f"{function.timeout_seconds}s"
        assert entry.get("template.maxInstanceRequestConcurrency") == function.concurrency
        assert entry.get("template.scaling.maxInstanceCount") == function.max_instances
        assert entry.get("template.containers.0.resources.limits") == {
            "cpu": str(function.cpu),
            "memory": f"{function.memory_mib}Mi",
        }


def test_only_the_topologys_public_functions_are_public(graph: Graph) -> None:
    public = {function.name for function in NAMED.functions if function.public}
    opened = {
        entry.get("name") for entry in graph.of("cloudrunv2/ServiceIamMember") if entry.get("member") == "allUsers"
    }
    balanced = {entry.get("cloudRun.service") for entry in graph.of("compute/RegionNetworkEndpointGroup")}
    assert opened == public
    assert balanced == public | {function.name for function in NAMED.functions if function.keyed}


def test_the_api_gateway_is_the_topologys_keyed_functions(graph: Graph) -> None:
    """Each listed request passes, no other does, and the quota is the topology's."""
    built = {entry.get("api"): read_openapi(entry) for entry in graph.of("apigateway/ApiConfig")}
    keyed = {f"argo-{function.name}": function.keyed for function in NAMED.functions if function.keyed}
    assert built.keys() == graph.names("apigateway/Api", "apiId") == graph.names("apigateway/Gateway", "gatewayId")
    assert built.keys() == keyed.keys()
    for name, document in built.items():
        passing = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
        assert passing == set(keyed[name].requests)
        (limit,) = document["x-google-management"]["quota"]["limits"]
        assert limit["values"] == {"STANDARD": keyed[name].per_minute}
