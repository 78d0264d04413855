"""Owns what one write does to a document: preconditions, masks, transforms and the write's result.

It computes; it neither stores nor locks. Several writes of one commit see each other through the overlay.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from emulators.firestore.fields import delete_field, get_field, parse_mask, set_field
from emulators.firestore.messages import (
    Document,
    Precondition,
    Write,
    WriteResult,
    micros_of,
    new_document,
    new_write_result,
    timestamp_of,
)
from emulators.firestore.names import DocumentName, parse_document
from emulators.firestore.transforms import apply_transforms
from emulators.firestore.validation import check_document
from emulators.statuses import already_exists, failed_precondition, invalid, not_found


@dataclass(slots=True)
class Overlay:
    """The documents as a commit leaves them: what it staged, over what is stored. None means deleted."""

    stored: Mapping[str, Document]
    staged: dict[str, Document | None] = field(default_factory=dict[str, Document | None])

    def get(self, name: str) -> Document | None:
        """Returns a document as the next write of this commit sees it."""
        return self.staged[name] if name in self.staged else self.stored.get(name)


def name_of_write(write: Write, database: str) -> DocumentName:
    """Returns the checked name of the document that a write concerns."""
    match write.WhichOneof("operation"):
        case "update":
            name = write.update.name
        case "delete":
            name = write.delete
        case "transform":
            name = write.transform.document
        case _:
            raise invalid("empty write operation")
    parsed = parse_document(name)
    if parsed.database != database:
        raise invalid(f'Document "{name}" is not in the database "{database}".')
    return parsed


def apply_write(overlay: Overlay, write: Write, commit_us: int) -> WriteResult:
    """Stages one write and returns its result; raises the status that the whole commit must fail with."""
    operation = write.WhichOneof("operation")
    if operation == "update":
        name, transforms = write.update.name, write.update_transforms
    else:
        name, transforms = write.transform.document, write.transform.field_transforms
    if operation == "delete":
        check_precondition(overlay.get(write.delete), write.current_document, write.delete)
        overlay.staged[write.delete] = None
        return new_write_result()
    old = overlay.get(name)
    check_precondition(old, write.current_document, name)
    document = _merge_update(old, write) if operation == "update" else _copy_fields(old, name)
    results = apply_transforms(document.fields, transforms, commit_us)
    check_document(document)
    if old is not None and _has_same_fields(old, document):
        # A write that changes nothing keeps the update time, and so wakes no listener.
        return new_write_result(update_time=old.update_time, transform_results=results)
    now = timestamp_of(commit_us)
    overlay.staged[name] = new_document(
        name=name,
        fields=document.fields,
        create_time=old.create_time if old is not None else now,
        update_time=now,
    )
    return new_write_result(update_time=now, transform_results=results)


def check_precondition(document: Document | None, precondition: Precondition, name: str) -> None:
    """Raises NOT_FOUND, ALREADY_EXISTS or FAILED_PRECONDITION when the precondition does not hold."""
    match precondition.WhichOneof("condition_type"):
        case "exists" if precondition.exists and document is None:
            raise not_found(f"No document to update: {name}")
        case "exists" if not precondition.exists and document is not None:
            raise already_exists(f"Document already exists: {name}")
        case "update_time":
            wanted_us = micros_of(precondition.update_time)
            stored_us = micros_of(document.update_time) if document is not None else 0
            if stored_us != wanted_us:
                raise failed_precondition(
                    f"the stored version ({stored_us}) does not match the required base version ({wanted_us})"
                )
        case _:
            pass


def _merge_update(old: Document | None, write: Write) -> Document:
    if not write.HasField("update_mask"):
        return new_document(name=write.update.name, fields=write.update.fields)
    document = _copy_fields(old, write.update.name)
    for path in parse_mask(write.update_mask):
        value = get_field(write.update.fields, path)
        if value is None:
            delete_field(document.fields, path)
        else:
            set_field(document.fields, path, value)
    return document


def _copy_fields(old: Document | None, name: str) -> Document:
    return new_document(name=name, fields=old.fields) if old is not None else new_document(name=name)


def _has_same_fields(old: Document, new: Document) -> bool:
    # Serialised, because protobuf's own equality holds NaN unequal to itself.
    left = new_document(fields=old.fields).SerializeToString(deterministic=True)
    return left == new_document(fields=new.fields).SerializeToString(deterministic=True)
