"""The suite's own Firestore server, from PyPI packages only: gRPC `google.firestore.v1.Firestore` in memory.

What it covers, and where it differs from the real service, is in README.md. It has no security rules (every
caller is the owner) and no disk: what is written is gone when the process ends.
"""
