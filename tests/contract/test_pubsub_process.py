"""The suite's own Pub/Sub server as a process: it says when it is ready, and stops when told."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from google.pubsub_v1 import SubscriberClient as SubscriberApi
from google.pubsub_v1.types import StreamingPullRequest

from tests.contract.pubsub_servers import ROOT, Pubsub, own_command
from tests.contract.push_endpoint import Endpoint
from tests.ports import find_free_port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_two_seconds_even_with_open_streams_and_pushes(number: signal.Signals) -> None:
    # `make down`, and Ctrl-C, must not leave a process behind nor wait for clients.
    port = find_free_port()
    endpoint = Endpoint(stall_seconds=3)
    endpoint.open()
    with subprocess.Popen(own_command(port), cwd=ROOT, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline().decode() == f"pubsub listening on 127.0.0.1:{port}\n"
        pubsub = Pubsub("own", f"127.0.0.1:{port}")
        topic = pubsub.topic()
        pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url})
        hang_up = _open_stream(pubsub, pubsub.subscription(topic))
        pubsub.publish(topic, b"x")
        time.sleep(0.3)
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=5) == 0
        assert time.monotonic() - started < 2
        assert process.stderr.read() == b""
    hang_up.set()
    pubsub.close()
    endpoint.close()


def _open_stream(pubsub: Pubsub, name: str) -> threading.Event:
    # The raw stream: the official client would try again for 10 s after the server's end.
    hang_up = threading.Event()

    def requests() -> Iterator[StreamingPullRequest]:
        yield StreamingPullRequest(subscription=name, stream_ack_deadline_seconds=60)
        hang_up.wait()

    api = SubscriberApi(transport=pubsub.subscriber.transport)
    next(iter(api.streaming_pull(requests=requests())))
    return hang_up


def test_a_taken_port_is_an_error_and_not_a_second_server(pubsub_servers: dict[str, Pubsub]) -> None:
    port = int(pubsub_servers["argo"].address.rsplit(":", 1)[1])
    finished = subprocess.run(own_command(port), cwd=ROOT, capture_output=True, timeout=20, check=False)
    assert finished.returncode == 1
    assert f"127.0.0.1:{port}" in finished.stderr.decode()
    assert "Traceback" not in finished.stderr.decode()
