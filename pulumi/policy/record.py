"""Runs the program, or a part of it, against mocks and records what it would ask Google for.

The mocks answer with ids and addresses that look like Google's, so that a reader of the record can follow a reference.
They are lenient: enums and names are for the rules and tests to check (shared/facts.md).
"""

from __future__ import annotations

import asyncio
import runpy
import sys
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import pulumi

from policy.graph import Graph, Inputs, Resource, shorten
from policy.stacks import PROGRAM, STACKS, read_config
from schemas import topology

__all__ = ["PROGRAM", "STACKS", "read_config", "record_program", "record_stack"]
P = ParamSpec("P")
T = TypeVar("T")
PROJECT_NUMBER = "123456789012"


def record_stack(stack: str) -> Graph:
    """The graph of a committed stack."""
    return record_program(_run_main, stack=stack, config=read_config(stack))


def record_program(build: Callable[[], object], *, stack: str = "dev", config: dict[str, str] | None = None) -> Graph:
    """The graph of whatever `build` creates."""
    given = config or {"gcp:project": f"argo-{stack}"}
    recorder = _Recorder(given.get("gcp:project", f"argo-{stack}"))
    outputs: dict[str, Any] = {}

    @pulumi.runtime.test
    def run() -> pulumi.Output[None]:
        pulumi.runtime.register_stack_transformation(recorder.note_options)
        build()
        root = pulumi.runtime.get_root_resource()
        exported: dict[str, Any] = getattr(root, "outputs", {})
        return pulumi.Output.from_input(exported).apply(outputs.update)

    with _own_loop(), _deep_stack():
        pulumi.runtime.set_mocks(recorder, project="argo", stack=stack, preview=False)
        pulumi.runtime.set_all_config(given)
        run()
    return Graph(
        stack=stack,
        project=recorder.project,
        region=topology.load().region,
        resources=sorted(recorder.resources(), key=lambda resource: (resource.kind, resource.name)),
        outputs=outputs,
    )


@contextmanager
def _own_loop() -> Generator[None]:
    """A loop that is closed afterwards; the SDK would leave its own open."""
    loop = asyncio.new_event_loop()
    depth = sys.getrecursionlimit()
    sys.setrecursionlimit(
        20 * depth
    )  # the mocks answer inside each other, as deep as there are resources that wait for nothing
    loop.set_default_executor(_Inline(max_workers=1))
    asyncio.set_event_loop(loop)
    try:
        with warnings.catch_warnings():
            # The provider warns about names of its own when a module is imported.
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"pulumi_gcp\.")
            yield
    finally:
        left = asyncio.all_tasks(loop)  # of a program that raised
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
        asyncio.set_event_loop(None)
        sys.setrecursionlimit(depth)


@contextmanager
def _deep_stack() -> Generator[None]:
    """The mocks register a resource inside the loop of the one before it: the stack grows with their number."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 10_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _run_main() -> None:
    folder = str(PROGRAM)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    runpy.run_path(str(PROGRAM / "__main__.py"), run_name="__main__")


class _Inline(ThreadPoolExecutor):
    """Runs at once and in order: the mocks wait for nothing, and each thread would open a loop of its own."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """What `fn` gives, already there."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 -- the future's reader gets it
            future.set_exception(error)
        return future


class _Recorder(pulumi.runtime.Mocks):
    def __init__(self, project: str) -> None:
        self.project = project
        self._inputs: list[tuple[str, str, Inputs]] = []
        self._options: dict[tuple[str, str], tuple[str, bool, tuple[str, ...]]] = {}

    def note_options(self, args: pulumi.ResourceTransformationArgs) -> None:
        """Mocks never see a resource's options; a transformation of the whole stack does."""
        wanted = args.opts.depends_on or []
        waits: list[Any] = wanted if isinstance(wanted, list) else [wanted]
        names = tuple(sorted({_name_of(entry) for entry in waits}))
        parent = _name_of(args.opts.parent) if args.opts.parent else ""
        self._options[shorten(args.type_), args.name] = (parent, bool(args.opts.protect), names)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, Inputs]:
        """The resource's id and outputs."""
        inputs = _normalise(dict(args.inputs))
        kind = shorten(args.typ)
        self._inputs.append((kind, args.name, inputs))
        return _identify(kind, args.name, inputs, self.project), {
            **args.inputs,
            **self._answer(kind, args.name, inputs),
        }

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[Inputs, list[tuple[str, str]]]:
        """Answers of data sources."""
        if args.token.endswith(":getProject"):
            return {"number": PROJECT_NUMBER}, []
        if args.token.endswith("getProjectServiceAccount"):
            return {"emailAddress": f"service-{PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com"}, []
        if args.token.endswith("getDefaultServiceAccount"):
            return {"email": f"bq-{PROJECT_NUMBER}@bigquery-encryption.iam.gserviceaccount.com"}, []
        raise ValueError(f"no answer is prepared for the data source {args.token}")

    def resources(self) -> list[Resource]:
        """What was recorded."""
        return [self._describe(kind, name, inputs) for kind, name, inputs in self._inputs]

    def _describe(self, kind: str, name: str, inputs: Inputs) -> Resource:
        parent, protected, waits = self._options.get((kind, name), ("", False, ()))
        return Resource(kind=kind, name=name, inputs=inputs, parent=parent, protected=protected, waits_for=waits)

    def _answer(self, kind: str, name: str, inputs: Inputs) -> Inputs:
        """The properties that Google sets."""
        answers: dict[str, Callable[[], Inputs]] = {
            "serviceaccount/Account": lambda: self._answer_account(str(inputs["accountId"])),
            "projects/ServiceIdentity": lambda: _answer_agent(inputs["service"].partition(".")[0]),
            "cloudrunv2/Service": lambda: {
                "uri": f"https://{inputs['name']}-{PROJECT_NUMBER}.{inputs['location']}.run.app"
            },
            "memorystore/Instance": lambda: _REDIS,
            "apigateway/Api": lambda: {
                "managedService": f"{inputs['apiId']}-0a1b2c3d4e5f6.apigateway.{self.project}.cloud.goog"
            },
            "apigateway/Gateway": lambda: {"defaultHostname": f"{inputs['gatewayId']}-0a1b2c3d.an.gateway.dev"},
            "compute/Address": lambda: {"address": "10.8.2.2"},
            "compute/GlobalAddress": lambda: {"address": "203.0.113.10"},
        }
        if kind in answers:
            return answers[kind]()
        return {} if "name" in inputs else {"name": name}

    def _answer_account(self, account_id: str) -> Inputs:
        email = f"{account_id}@{self.project}.iam.gserviceaccount.com"
        return {
            "email": email,
            "member": f"serviceAccount:{email}",
            "name": f"projects/{self.project}/serviceAccounts/{email}",
        }


def _answer_agent(agent: str) -> Inputs:
    email = f"service-{PROJECT_NUMBER}@gcp-sa-{agent}.iam.gserviceaccount.com"
    return {"email": email, "member": f"serviceAccount:{email}"}


_REDIS: Inputs = {
    "endpoints": [
        {
            "connections": [
                {
                    "pscAutoConnection": {
                        "ipAddress": "10.8.1.2",
                        "port": 6379,
                        "connectionType": "CONNECTION_TYPE_PRIMARY",
                    }
                }
            ]
        }
    ],
    "managedServerCas": [{"caCerts": [{"certificates": ["-----BEGIN CERTIFICATE-----"]}]}],
}


def _identify(kind: str, name: str, inputs: Inputs, project: str) -> str:
    """The id as Google writes it, where another resource refers to it."""
    forms: dict[str, Callable[[], str]] = {
        "pubsub/Topic": lambda: f"projects/{project}/topics/{inputs['name']}",
        "pubsub/Schema": lambda: f"projects/{project}/schemas/{inputs['name']}",
        "kms/KeyRing": lambda: f"projects/{project}/locations/{inputs['location']}/keyRings/{inputs['name']}",
        "kms/CryptoKey": lambda: f"{inputs['keyRing']}/cryptoKeys/{inputs['name']}",
        "projects/IAMCustomRole": lambda: f"projects/{project}/roles/{inputs['roleId']}",
        "storage/Bucket": lambda: str(inputs["name"]),
    }
    return forms.get(kind, lambda: f"{kind}/{inputs.get('name', name)}")()


def _name_of(entry: Any) -> str:
    if isinstance(entry, pulumi.Resource):
        return str(entry._name)  # pyright: ignore[reportPrivateUsage] -- the SDK has no public way to a resource's own name
    raise TypeError(f"a dependency is {type(entry).__name__}; depend on resources only")


def _normalise(value: Any) -> Any:
    """Numbers arrive as floats from the mocks' wire."""
    if isinstance(value, dict):
        given: dict[str, Any] = value
        return {key: _normalise(item) for key, item in given.items() if not key.startswith("__")}
    if isinstance(value, list | tuple):
        items: list[Any] = list(value)
        return [_normalise(item) for item in items]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
