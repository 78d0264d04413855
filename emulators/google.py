"""Finds Google's own emulators and the command lines that start them.

Looks only where the user points: the `gcloud` program on PATH, or `CLOUDSDK_ROOT_DIR`. Hiding both means "use the pip-only
servers", so common installation folders are not searched. Starting, watching and stopping them belongs to the caller.
"""

import importlib.util
import os
import shutil
from pathlib import Path


def find_java() -> Path | None:
    """Returns the system's Java, else the runtime inside the `arcadedb-embedded` wheel, else None."""
    on_path = shutil.which("java")
    if on_path:
        return Path(on_path)
    wheel = importlib.util.find_spec("arcadedb_embedded")  # located, not imported: importing it starts a JVM
    if wheel is None or wheel.origin is None:
        return None
    bundled = Path(wheel.origin).parent / "jre" / "bin" / "java"
    return bundled if os.access(bundled, os.X_OK) else None


def find_platform() -> Path | None:
    """Returns the SDK's `platform` folder, where gcloud keeps the emulators it has installed, or None."""
    roots: list[Path] = []
    configured = os.environ.get("CLOUDSDK_ROOT_DIR")
    if configured:
        roots.append(Path(configured))
    gcloud = shutil.which("gcloud")
    if gcloud:
        roots.append(Path(gcloud).resolve().parent.parent)
    return next((root / "platform" for root in roots if (root / "platform").is_dir()), None)


def pubsub_command(host: str, port: int) -> list[str] | None:
    """Returns the command line of Google's Pub/Sub emulator, or None when it or Java is missing."""
    return _java_command("pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar", host, port)


def firestore_command(host: str, port: int) -> list[str] | None:
    """Returns the command line of Google's Firestore emulator, or None when it or Java is missing.

    The jar is run directly, not through the SDK's shell script, so that the process we start is the one we stop.
    """
    return _java_command("cloud-firestore-emulator/cloud-firestore-emulator.jar", host, port)


def _java_command(jar_pattern: str, host: str, port: int) -> list[str] | None:
    platform = find_platform()
    java = find_java()
    if platform is None or java is None:
        return None
    jars = sorted(platform.glob(jar_pattern))
    if not jars:
        return None
    # The SDK's own script sets English: the Firestore emulator supports no other language in its messages.
    return [str(java), "-Duser.language=en", "-jar", str(jars[-1]), f"--host={host}", f"--port={port}"]
