"""Owns the one exception that carries a gRPC status from the rules to the wire. It does not log."""

import grpc


class StatusError(Exception):
    """A refusal that the client must see as this gRPC status and message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> StatusError:
    """Builds INVALID_ARGUMENT."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """Builds NOT_FOUND."""
    return StatusError(grpc.StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> StatusError:
    """Builds ALREADY_EXISTS."""
    return StatusError(grpc.StatusCode.ALREADY_EXISTS, message)


def failed_precondition(message: str) -> StatusError:
    """Builds FAILED_PRECONDITION."""
    return StatusError(grpc.StatusCode.FAILED_PRECONDITION, message)


def aborted(message: str) -> StatusError:
    """Builds ABORTED, which makes the official client run a transaction again."""
    return StatusError(grpc.StatusCode.ABORTED, message)


def unimplemented(message: str) -> StatusError:
    """Builds UNIMPLEMENTED."""
    return StatusError(grpc.StatusCode.UNIMPLEMENTED, message)
