"""API Gateway before the keyed functions: without a key of an allowed project, or beyond the quota, nothing gets through.

Owns the API, its configuration from the topology, and the account in whose name the gateway runs, which may do nothing:
a caller's own identity goes on to Cloud Run. Keys are made by a person (docs/operating.md) and never pass through here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.naming import account_id, function_host
from infra.openapi import write_openapi
from infra.settings import Place
from schemas.topology import Function, Keyed


@dataclass(frozen=True, kw_only=True)
class Door:
    """The way to a keyed function: where requests go, and the name by which the function knows itself."""

    url: pulumi.Output[str]
    audience: str
    managed_service: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class ApiGatewayArgs:
    """`functions` are the keyed ones; `region` is one that API Gateway has; behind it is `<function>.<domain>`."""

    place: Place
    functions: Sequence[Function]
    region: str
    domain: str


class ApiGateway(pulumi.ComponentResource):
    """A gateway per keyed function; `doors` by the function's name."""

    def __init__(self, name: str, args: ApiGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:apigateway:ApiGateway", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self.doors = {entry.name: self._open(entry, entry.keyed) for entry in args.functions if entry.keyed}
        self.register_outputs({})

    def _open(self, function: Function, keyed: Keyed) -> Door:
        place, backend = self._args.place, f"https://{function_host(function.name, self._args.domain)}"
        api = gcp.apigateway.Api(
            f"api-{function.name}",
            api_id=f"argo-{function.name}",
            display_name=f"ARGO {function.name}",
            project=place.project,
            labels=place.labels,
            opts=self._child,
        )
        # A key is taken only in a project in which the API's own service is on.
        service = gcp.projects.Service(
            f"api-{function.name}-service",
            service=api.managed_service,
            project=place.project,
            disable_on_destroy=False,
            opts=self._child,
        )
        gateway = gcp.apigateway.Gateway(
            f"api-{function.name}-gateway",
            gateway_id=f"argo-{function.name}",
            display_name=f"ARGO {function.name}",
            api_config=self._configure(api, write_openapi(function, keyed, backend), function).id,
            region=self._args.region,
            project=place.project,
            labels=place.labels,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[service]),
        )
        url = pulumi.Output.concat("https://", gateway.default_hostname)
        return Door(url=url, audience=backend, managed_service=api.managed_service)

    def _configure(
        self, api: gcp.apigateway.Api, document: dict[str, object], function: Function
    ) -> gcp.apigateway.ApiConfig:
        place = self._args.place
        account = gcp.serviceaccount.Account(
            f"account-gate-{function.name}",
            account_id=account_id("gate", function.name),
            project=place.project,
            display_name=f"gate {function.name}",
            description=f"API Gateway before {function.name}; it holds no right",
            opts=self._child,
        )
        contents = base64.b64encode(json.dumps(document, indent=2, sort_keys=True).encode()).decode()
        return gcp.apigateway.ApiConfig(
            f"api-{function.name}-config",
            api=api.api_id,
            api_config_id_prefix=f"argo-{function.name}-",  # a config never changes: a new document is a new one beside it
            display_name=f"ARGO {function.name}",
            project=place.project,
            labels=place.labels,
            openapi_documents=[
                gcp.apigateway.ApiConfigOpenapiDocumentArgs(
                    document=gcp.apigateway.ApiConfigOpenapiDocumentDocumentArgs(path="openapi.json", contents=contents)
                )
            ],
            gateway_config=gcp.apigateway.ApiConfigGatewayConfigArgs(
                backend_config=gcp.apigateway.ApiConfigGatewayConfigBackendConfigArgs(
                    google_service_account=account.email
                )
            ),
            opts=self._child,
        )
