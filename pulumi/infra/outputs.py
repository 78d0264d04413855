"""What `pulumi stack output` tells an operator: addresses, names, and the first lines worth typing. No secret is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.apigateway import Door
from infra.gateway import Gateway
from infra.naming import dashed
from infra.settings import Place
from schemas.topology import Topology, bucket_id


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What has an address."""

    services: Mapping[str, gcp.cloudrunv2.Service]
    gateway: Gateway | None
    doors: Mapping[str, Door]


def export_outputs(place: Place, topology: Topology, built: Exported) -> None:
    """Exports everything."""
    gateway = built.gateway
    pulumi.export("project", place.project)
    pulumi.export("region", place.region)
    pulumi.export("dataset", f"{place.project}:{topology.dataset}")
    pulumi.export("topics", [topic.name for topic in topology.topics])
    pulumi.export("buckets", {bucket.name: bucket_id(place.project, bucket.name) for bucket in topology.buckets})
    pulumi.export("function_urls", {name: service.uri for name, service in built.services.items()})
    pulumi.export("registry", f"{place.region}-docker.pkg.dev/{place.project}/argo")
    pulumi.export("keyed_urls", {name: door.url for name, door in built.doors.items()})
    keys = {
        caller: _key_line(caller, door, place)
        for name, door in built.doors.items()
        for caller in topology.callers(name)
    }
    pulumi.export("api_keys_to_make", keys)
    if gateway:
        public = [function.name for function in topology.functions if function.public]
        pulumi.export("public_urls", {name: f"https://{gateway.hosts[name]}" for name in public})
        pulumi.export("dns_records", _describe_records(gateway))
    pulumi.export("secrets_to_fill", {entry.name: _fill_line(entry.name, place) for entry in topology.secrets})
    pulumi.export("try_first", _first_lines(place, topology))


def _describe_records(gateway: Gateway) -> pulumi.Output[list[str]]:
    hosts = sorted(gateway.hosts.values())
    return gateway.address.address.apply(lambda address: [f"{host}. A {address}" for host in hosts])


def _key_line(caller: str, door: Door, place: Place) -> pulumi.Output[str]:
    return pulumi.Output.concat(
        f"gcloud services api-keys create --project={place.project} --display-name={caller} --api-target=service=",
        door.managed_service,
    )


def _fill_line(secret: str, place: Place) -> str:
    return f"gcloud secrets versions add {secret} --project={place.project} --data-file=-"


def _first_lines(place: Place, topology: Topology) -> list[str]:
    at = f"--project={place.project}"
    held = [entry.name for entry in topology.subscriptions if entry.pull]
    return [
        f"bq head --project_id={place.project} --max_rows=10 {topology.dataset}.user_interactions",
        *(f"gcloud pubsub subscriptions pull {name} {at} --limit=10" for name in held),
        *(f"gcloud run jobs execute {dashed(job.name)} {at} --region={place.region} --wait" for job in topology.jobs),
    ]
