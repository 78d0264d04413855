"""The emulator's store, with change events, generation preconditions and notificationConfigs.

Owns what must happen together with a change. Calls come one at a time: the HTTP side holds the lock.
Deliberately not here: sending the messages, and anything the emulator's store does well by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.storage import Storage

from emulators.storage.notifications import EventType, Message, build_messages, read_config

_CONFIGS_FILE = ".notifications"


class PreconditionFailedError(Exception):
    """The object is not at the generation that the caller asked for (0: it must not exist)."""


class ObjectStore(Storage):
    """Buckets and objects, in memory or below `data_dir`; hands every change's messages to `post`."""

    def __init__(self, post: Callable[[Iterable[Message]], None], data_dir: Path | None) -> None:
        self._post = post
        self._in_memory = data_dir is None
        self._configs: dict[str, dict[str, dict[str, Any]]] = {}
        self._last_config_id = 0
        self._resumable_generations: dict[str, int] = {}
        self.required_generation: int | None = None  # of the request being served
        self.deleted_generation: int | None = None  # which version it deletes; there is only the live one here
        super().__init__(use_memory_fs=data_dir is None, data_dir=str(data_dir.absolute()) if data_dir else None)

    def add_config(self, bucket: str, body: object) -> dict[str, Any]:
        """Adds a notificationConfig to a bucket; raises `NotFound` or `InvalidConfigError`."""
        configs = self.list_configs(bucket)
        config = read_config(body, bucket, str(self._last_config_id + 1))
        self._last_config_id += 1
        self._configs[bucket] = {**configs, str(config["id"]): config}
        self._write_config_to_file()
        return config

    def list_configs(self, bucket: str) -> dict[str, dict[str, Any]]:
        """Returns a bucket's notificationConfigs by id."""
        if bucket not in self.buckets:
            raise NotFound
        return self._configs.get(bucket, {})

    def remove_config(self, bucket: str, config_id: str) -> None:
        """Removes a notificationConfig; raises `NotFound`."""
        if self.list_configs(bucket).pop(config_id, None) is None:
            raise NotFound
        self._write_config_to_file()

    def create_file(
        self, bucket_name: str, file_name: str, content: bytes, file_obj: dict[str, Any], file_id: str | None = None
    ) -> None:
        previous = self._find_live(bucket_name, file_name)
        required = self._resumable_generations.get(file_id, None) if file_id else self.required_generation
        _check_generation(previous, required)
        super().create_file(bucket_name, file_name, content, file_obj, file_id)
        if file_id:
            self._resumable_generations.pop(file_id, None)
        if previous is None:
            self._emit(EventType.FINALIZE, file_obj)
            return
        self._emit(EventType.FINALIZE, file_obj, overwroteGeneration=previous["generation"])
        self._emit(EventType.DELETE, previous, overwrittenByGeneration=file_obj["generation"])

    def create_resumable_upload(self, bucket_name: str, file_name: str, file_obj: dict[str, Any]) -> str:
        _check_generation(self._find_live(bucket_name, file_name), self.required_generation)
        file_id = str(super().create_resumable_upload(bucket_name, file_name, file_obj))
        if self.required_generation is not None:  # what counts is the moment the upload ends
            self._resumable_generations[file_id] = self.required_generation
        return file_id

    def delete_file(self, bucket_name: str, file_name: str) -> None:
        previous = self._find_live(bucket_name, file_name)
        if previous is not None:
            _check_generation(previous, self.required_generation)
            if self.deleted_generation not in (None, int(previous["generation"])):
                raise NotFound
        super().delete_file(bucket_name, file_name)
        if previous is not None:
            self._emit(EventType.DELETE, previous)

    def patch_object(self, bucket_name: str, file_name: str, file_obj: dict[str, Any]) -> None:
        super().patch_object(bucket_name, file_name, file_obj)
        self._emit(EventType.METADATA_UPDATE, file_obj)

    def delete_bucket(self, bucket_name: str) -> None:
        super().delete_bucket(bucket_name)
        if self._configs.pop(bucket_name, None):
            self._write_config_to_file()

    def wipe(self, keep_buckets: bool = False) -> None:
        if not keep_buckets:
            self._configs = {}
        super().wipe(keep_buckets)

    def _find_live(self, bucket: str, name: str) -> dict[str, Any] | None:
        return self.objects.get(bucket, {}).get(name)

    def _emit(self, event_type: EventType, resource: dict[str, Any], **extra: str) -> None:
        configs = self._configs.get(str(resource["bucket"]), {})
        if configs:
            self._post(build_messages(configs.values(), event_type, resource, extra))

    def _write_config_to_file(self) -> None:
        if self._in_memory:
            return  # the emulator would turn every object's metadata into JSON at every upload, for nobody
        super()._write_config_to_file()
        content = {"last_id": self._last_config_id, "configs": self._configs}
        self._store.write_bytes(_CONFIGS_FILE, json.dumps(content).encode())

    def _read_config_from_file(self) -> None:
        super()._read_config_from_file()
        if self._store.exists_file(_CONFIGS_FILE):
            content = json.loads(self._store.read_bytes(_CONFIGS_FILE))
            self._last_config_id, self._configs = content["last_id"], content["configs"]


def _check_generation(current: dict[str, Any] | None, required: int | None) -> None:
    if required is not None and required != int(current["generation"] if current else 0):
        raise PreconditionFailedError
