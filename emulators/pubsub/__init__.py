"""A Pub/Sub server that needs nothing but PyPI: `python -m emulators.pubsub --host 127.0.0.1 --port 8085`.

Speaks the gRPC surface that Google's Python client uses through `PUBSUB_EMULATOR_HOST`, in memory, on one
event loop. What it covers, and where it differs from the real service, is in this folder's README.
"""
