"""The name of an image by its content: the same files give the same tag, in every project and at every commit.

So a release is built once: staging and prod take the image that was tested before them, and a merge commit, which has a
new hash, changes nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from image.tree import DOCKERFILE, LOCK, ROOT, copied_folders


def name_content(root: Path = ROOT) -> str:
    """The tag: a hash of every file that the image is made of."""
    digest = hashlib.sha256()
    files = [path for folder in copied_folders() for path in (root / folder).rglob("*")]
    files += [root / path.relative_to(ROOT) for path in (DOCKERFILE, LOCK)]
    for path in sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return f"content-{digest.hexdigest()[:16]}"
