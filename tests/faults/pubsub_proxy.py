"""A gRPC proxy in front of a Pub/Sub server, which can fail as Pub/Sub does.

`python -m tests.faults.pubsub_proxy --target HOST:PORT` takes a mode a line on stdin and answers each by the same line on
stdout; the first line out is the port. Modes:
- pass: every call goes through;
- refuse: every call is answered UNAVAILABLE;
- part: of a Publish the first half of the messages goes through, then the call is answered UNAVAILABLE;
- mute: a Publish goes through whole, then the call is answered UNAVAILABLE: the acknowledgement is lost;
- stall: calls go through to nobody: the client waits until its own deadline.
It knows no message but a Publish's request; every other call is passed on as bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.pubsub_v1.types import PublishRequest

PUBLISH = "/google.pubsub.v1.Publisher/Publish"
MESSAGE_BYTES = 64 * 1024 * 1024
OPTIONS = [("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.max_send_message_length", MESSAGE_BYTES)]
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


class Mode(StrEnum):
    """How the proxy answers."""

    PASS = "pass"
    REFUSE = "refuse"
    PART = "part"
    MUTE = "mute"
    STALL = "stall"


class Proxy(grpc.GenericRpcHandler):
    """Every method of the server behind it."""

    def __init__(self, target: str) -> None:
        self.mode = Mode.PASS
        self._channel = grpc.aio.insecure_channel(target, options=OPTIONS)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The handler of a method; streaming ones are told by their name."""
        method = handler_call_details.method or ""
        if method.endswith("/StreamingPull"):
            return grpc.stream_stream_rpc_method_handler(self._make_stream(method))
        return grpc.unary_unary_rpc_method_handler(self._make_unary(method))

    def _make_unary(self, method: str) -> Any:
        call = self._channel.unary_unary(method)

        async def answer(request: bytes, context: Context) -> bytes:
            mode = self.mode
            if mode is Mode.STALL:
                await asyncio.sleep(context.time_remaining() or 600)
            if mode is Mode.REFUSE:
                await refuse(context)
            is_publish = method == PUBLISH
            if is_publish and mode is Mode.PART:
                request = halve(request)
            try:
                response = await call(request, timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                return await context.abort(error.code(), error.details() or "")
            if is_publish and mode in (Mode.PART, Mode.MUTE):
                await refuse(context)
            return response

        return answer

    def _make_stream(self, method: str) -> Any:
        call = self._channel.stream_stream(method)

        async def answer(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            try:
                async for response in call(requests):
                    yield response
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")

        return answer


async def refuse(context: Context) -> None:
    """End the call as an overloaded or broken server does."""
    await context.abort(grpc.StatusCode.UNAVAILABLE, "refused by the fault proxy")


def halve(request: bytes) -> bytes:
    """A Publish with the first half of its messages; one message stays one."""
    whole = PublishRequest.deserialize(request)
    del whole.messages[(len(whole.messages) + 1) // 2 :]
    return PublishRequest.serialize(whole)


async def serve(target: str) -> None:
    """Serve until stdin ends."""
    proxy = Proxy(target)
    server = grpc.aio.server(options=[*OPTIONS, ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((proxy,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        proxy.mode = Mode(line.decode().strip())
        print(proxy.mode, flush=True)
    await server.stop(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.faults.pubsub_proxy", description=__doc__)
    parser.add_argument("--target", required=True, help="host:port of the Pub/Sub server")
    asyncio.run(serve(parser.parse_args().target))
