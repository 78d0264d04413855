"""Finds Google's own emulators and the command lines that start them.

Looks only where the user points: the `gcloud` program on PATH, or `CLOUDSDK_ROOT_DIR`. Hiding both means
"use the pip-only servers", so common installation folders are not searched. Starting, watching and stopping
them belongs to the caller.
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
    java, jar = find_java(), _find_jar("pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar")
    if java is None or jar is None:
        return None
    return [str(java), "-jar", str(jar), f"--host={host}", f"--port={port}"]


def firestore_command(host: str, port: int) -> list[str] | None:
    """Returns the command line of Google's Firestore emulator, or None when it or Java is missing.

    The Java inside `arcadedb-embedded` will not do: it lacks the module jdk.httpserver, and the emulator
    ends at once (tried 2026-11-20). This is what the SDK's shell script runs, without the shell, so that the
    process we start is the one we stop.
    """
    java, jar = shutil.which("java"), _find_jar("cloud-firestore-emulator/cloud-firestore-emulator.jar")
    if java is None or jar is None:
        return None
    main_class = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"  # the manifest names none
    # The SDK's script sets English: the emulator supports no other language in its messages.
    flags = ["-Duser.language=en", "-cp", str(jar)]
    return [java, *flags, main_class, "start", f"--host={host}", f"--port={port}"]


def _find_jar(pattern: str) -> Path | None:
    platform = find_platform()
    jars = sorted(platform.glob(pattern)) if platform else []
    return jars[-1] if jars else None
