"""The checks of names and pages. How the server says no is statuses.py's.

Knows no state: whether a named thing exists is the registry's business.
"""

import base64
import binascii
import re
from collections.abc import Sequence

from emulators.statuses import invalid

# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names, read 2026-11-20.
_NAME = re.compile(r"projects/([^/]+)/(topics|subscriptions|snapshots)/([A-Za-z][A-Za-z0-9\-_.~+%]{2,254})")
_MAX_PAGE_SIZE = 1000


def check_name(name: str, collection: str) -> None:
    """Refuses a name that is not `projects/P/<collection>/ID` with an ID that Pub/Sub allows."""
    match = _NAME.fullmatch(name)
    if match is None or match[2] != collection or match[3].lower().startswith("goog"):
        raise invalid(f"Invalid [{collection}] name: (name={name})")


def project_of(name: str) -> str:
    """Returns `projects/P` of a full resource name."""
    return "/".join(name.split("/", 2)[:2])


def page_of(names: Sequence[str], page_size: int, page_token: str) -> tuple[Sequence[str], str]:
    """Returns one page of sorted names and the token of the next, empty at the end."""
    if page_size < 0:
        raise invalid(f"page_size is negative: {page_size}")
    after = _decode_token(page_token)
    rest = [name for name in names if name > after]
    size = min(page_size or _MAX_PAGE_SIZE, _MAX_PAGE_SIZE)
    page = rest[:size]
    if len(rest) <= size:
        return page, ""
    return page, base64.urlsafe_b64encode(page[-1].encode()).decode()


def _decode_token(token: str) -> str:
    if not token:
        return ""
    try:
        decoded = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid("page_token is not one that this server gave") from error
    if not decoded.startswith("projects/"):
        raise invalid("page_token is not one that this server gave")
    return decoded
