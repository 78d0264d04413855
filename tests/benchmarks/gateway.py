"""What the gateway adds to a model call, and whether a limit holds under 50 callers at once: `make bench NAME=gateway`.

The function llm as it is deployed, on a real Redis, Pub/Sub, Secret Manager's and Gemini's stand-ins, against the same question
put to the same stand-in by Google's own client. Writes build/bench/gateway.json; exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.limited_llm import CAP
from tests.benchmarks.load import percentile
from tests.benchmarks.reports import write_report
from tests.benchmarks.worker import HOST, run_function
from tests.emulator.standins import running
from tests.unit.redis_server import run_redis

REPORT = Path("build/bench/gateway.json")
PROJECT = "argo-bench"
MODEL = "gemini-3.5-flash-lite"
CALLERS = 50
SECRETS = {"llm-agent-keys": json.dumps({"free-key": "free", "limited-key": "limited"}), "gemini-api-key": "stand-in"}
BODY = {
    "prompt": "review_message@2",
    "model": MODEL,
    "data": {"message": {"subject": "s", "text": "hello " * 100}, "evidence": {}},
}


def prepare(secret_manager: str) -> None:
    """Put the secrets and the topic where the function looks for them."""
    import grpc
    from google.cloud import pubsub_v1
    from google.cloud.secretmanager_v1 import (
        AddSecretVersionRequest,
        CreateSecretRequest,
        SecretManagerServiceClient,
    )
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )

    transport = SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(secret_manager))
    with SecretManagerServiceClient(transport=transport) as client:
        for name, value in SECRETS.items():
            body = {"replication": {"automatic": {}}}
            wanted = {"parent": f"projects/{PROJECT}", "secret_id": name, "secret": body}
            made = client.create_secret(CreateSecretRequest(wanted))
            client.add_secret_version(
                AddSecretVersionRequest({"parent": made.name, "payload": {"data": value.encode()}})
            )
    publisher = pubsub_v1.PublisherClient()
    publisher.create_topic(name=f"projects/{PROJECT}/topics/llm-usage")
    publisher.transport.close()


async def ask_directly(url: str, calls: int) -> list[float]:
    """Seconds of each call with Google's own client, one after another."""
    from google import genai
    from google.genai import types

    from agents.gateway import fence
    from agents.prompts import Review

    client = genai.Client(vertexai=False, api_key="stand-in", http_options=types.HttpOptions(base_url=url))
    config = types.GenerateContentConfig(
        system_instruction=fence.write_system("review_message@2"),
        response_mime_type="application/json",
        response_json_schema=fence.write_schema(Review),
    )
    seconds: list[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        contents = fence.write_data(BODY["data"])  # pyright: ignore[reportArgumentType]
        answer = await client.aio.models.generate_content(model=MODEL, contents=contents, config=config)
        seconds.append(time.perf_counter() - began)
        assert answer.text
    await client.aio.aclose()
    return seconds


async def ask_gateway(url: str, calls: int) -> list[float]:
    """Seconds of each call through the gateway, one after another."""
    seconds: list[float] = []
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        for _ in range(calls):
            began = time.perf_counter()
            answer = await client.post("/v1/generate", json=BODY, headers={"authorization": "Bearer free-key"})
            seconds.append(time.perf_counter() - began)
            answer.raise_for_status()
    return seconds


async def ask_at_once(url: str, key: str, each: int) -> tuple[list[int], list[str | None], float]:
    """Statuses, limits named in refusals, and seconds, of 50 callers at once with so many calls each."""
    limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as client:

        async def one() -> list[httpx.Response]:
            return [
                await client.post("/v1/generate", json=BODY, headers={"authorization": f"Bearer {key}"})
                for _ in range(each)
            ]

        began = time.perf_counter()
        answers = [answer for answers in await asyncio.gather(*(one() for _ in range(CALLERS))) for answer in answers]
        seconds = time.perf_counter() - began
    refused = [answer.json().get("limit") for answer in answers if answer.status_code != 200]
    return [answer.status_code for answer in answers], refused, seconds


async def measure(llm: str, gemini: str, calls: int) -> dict[str, Any]:
    """Everything; the two sides in turn, so that the machine's mood is on both."""
    await ask_gateway(llm, 10)
    await ask_directly(gemini, 10)
    direct: list[float] = []
    through: list[float] = []
    for _ in range(4):
        direct += await ask_directly(gemini, calls // 4)
        through += await ask_gateway(llm, calls // 4)
    statuses, refused, _ = await ask_at_once(llm, "limited-key", 2)
    many, _, seconds = await ask_at_once(llm, "free-key", 6)
    return {
        "calls": calls,
        "direct_ms": {f"p{p}": round(percentile(direct, p) * 1000, 2) for p in (50, 95)},
        "gateway_ms": {f"p{p}": round(percentile(through, p) * 1000, 2) for p in (50, 95)},
        "added_ms_p50": round((percentile(through, 50) - percentile(direct, 50)) * 1000, 2),
        "ratio_p50": round(percentile(through, 50) / percentile(direct, 50), 2),
        "callers_at_once": CALLERS,
        "cap": CAP,
        "admitted": statuses.count(200),
        "refused_429": statuses.count(429),
        "limits_named": sorted({str(name) for name in refused}),
        "calls_per_second_at_50": round(many.count(200) / seconds, 1),
        "failed_at_50": len(many) - many.count(200),
    }


def main() -> int:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gateway", description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="on each side, one after another")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        redis_url = stack.enter_context(run_redis(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        gemini = stack.enter_context(running("gemini"))
        secret_manager = stack.enter_context(running("secretmanager"))
        pubsub = stack.enter_context(running("pubsub"))
        os.environ["PUBSUB_EMULATOR_HOST"] = pubsub.endpoint
        prepare(secret_manager.endpoint)
        environment = {
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "K_SERVICE": "llm",
            "REDIS_URL": redis_url,
            "SECRET_MANAGER_ENDPOINT": secret_manager.endpoint,
            "GOOGLE_GEMINI_BASE_URL": gemini.url,
        }
        source = Path(__file__).with_name("limited_llm.py")
        port, _ = stack.enter_context(run_function(source, "llm", environment))
        found = asyncio.run(measure(f"http://{HOST}:{port}", gemini.url, arguments.calls))
    write_report(REPORT, found)
    print(json.dumps(found, indent=1))
    exact = found["admitted"] == CAP and found["limits_named"] == ["requests_per_minute"]
    return 0 if exact and not found["failed_at_50"] else 1


if __name__ == "__main__":
    sys.exit(main())
