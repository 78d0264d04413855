"""Cloud Storage on a laptop: gcp-storage-emulator plus what the suite needs and it lacks.

`objects` adds change events and `ifGenerationMatch` to its store, `notifications` owns notificationConfigs and brings
the events to Pub/Sub, `__main__` serves both over HTTP. Uploads, downloads, lists, compose and rewrite stay the
emulator's. Deliberately not here: `ifMetagenerationMatch`, preconditions of reads, object versioning, IAM.
"""
