"""The suite's own Pub/Sub server as a process: it says when it is ready, and stops when told."""

import signal
import subprocess
import time

import pytest
from google.cloud.pubsub_v1.subscriber.message import Message

from tests.emulator.pubsub_servers import ROOT, Pubsub, free_port, own_command
from tests.emulator.push_endpoint import Endpoint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_two_seconds_even_with_open_streams_and_pushes(number: signal.Signals) -> None:
    # `make down`, and Ctrl-C, must not leave a process behind nor wait for clients.
    port = free_port()
    endpoint = Endpoint(stall_seconds=3)
    endpoint.open()
    with subprocess.Popen(own_command(port), cwd=ROOT, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline().decode() == f"pubsub listening on 127.0.0.1:{port}\n"
        pubsub = Pubsub("own", f"127.0.0.1:{port}")
        topic = pubsub.topic()
        pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url})
        stream = pubsub.subscriber.subscribe(pubsub.subscription(topic), callback=Message.ack)
        pubsub.publish(topic, b"x")
        time.sleep(0.3)
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=5) == 0
        assert time.monotonic() - started < 2
        assert process.stderr.read() == b""
    stream.cancel()
    stream.result(timeout=10)
    pubsub.close()
    endpoint.close()


def test_a_taken_port_is_an_error_and_not_a_second_server(pubsub_servers: dict[str, Pubsub]) -> None:
    port = int(pubsub_servers["argo"].address.rsplit(":", 1)[1])
    finished = subprocess.run(own_command(port), cwd=ROOT, capture_output=True, timeout=20, check=False)
    assert finished.returncode == 1
    assert f"127.0.0.1:{port}" in finished.stderr.decode()
    assert "Traceback" not in finished.stderr.decode()
