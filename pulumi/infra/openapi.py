"""What API Gateway is told about a keyed function: an OpenAPI 2 document, written from the topology. Pure values.

Google's extensions: https://cloud.google.com/endpoints/docs/openapi/openapi-extensions. A quota is per minute and per
project whose keys call (https://cloud.google.com/endpoints/docs/openapi/quotas-configure); what each caller may use is
the function's own business.
"""

from __future__ import annotations

from typing import Any

from schemas.topology import Function, Keyed

KEY_HEADER = "x-api-key"
WAIT_SECONDS = 60  # the gateway's own default is 15, shorter than a model may take


def write_openapi(function: Function, keyed: Keyed, backend: str) -> dict[str, Any]:
    """The document: only the listed requests, each with a key, each counted.

    API Gateway leaves the caller's own identity alone (`disable_auth`), so that Cloud Run still decides who calls.
    """
    metric = f"{function.name}-requests"
    paths: dict[str, dict[str, Any]] = {}
    for request in keyed.requests:
        method, _, path = request.partition(" ")
        paths.setdefault(path, {})[method.lower()] = {
            "operationId": f"{method.lower()}{path.replace('/', '_').replace('-', '_')}",
            "security": [{"key": []}],
            "x-google-quota": {"metricCosts": {metric: 1}},
            "responses": {"200": {"description": "The function's answer"}},
        }
    limit = {
        "name": f"{metric}-per-minute",
        "metric": metric,
        "unit": "1/min/{project}",
        "values": {"STANDARD": keyed.per_minute},
    }
    return {
        "swagger": "2.0",
        "info": {"title": function.name, "description": function.description, "version": "1.0.0"},
        "schemes": ["https"],
        "produces": ["application/json"],
        "x-google-backend": {
            "address": backend,
            "path_translation": "APPEND_PATH_TO_ADDRESS",
            "deadline": float(max(WAIT_SECONDS, function.timeout_seconds)),
            "disable_auth": True,
        },
        "x-google-management": {
            "metrics": [
                {
                    "name": metric,
                    "displayName": f"Requests to {function.name}",
                    "valueType": "INT64",
                    "metricKind": "DELTA",
                }
            ],
            "quota": {"limits": [limit]},
        },
        "securityDefinitions": {"key": {"type": "apiKey", "name": KEY_HEADER, "in": "header"}},
        "paths": paths,
    }
