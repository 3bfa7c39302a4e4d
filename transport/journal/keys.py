"""The file with the key that what was said is encrypted with."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

KEY_BYTES = 32


def read_key(path: Path) -> bytes:
    """The key in a file: 32 bytes as base64.

    Raises:
        ValueError: with what is wrong; never with the key.
    """
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} does not hold {KEY_BYTES} bytes as base64; make one: voxtree journal keygen {path}")
    return key


def make_key(path: Path) -> None:
    """Put a new key into a file that does not exist yet, for its owner alone.

    Raises:
        OSError: for one, because the file exists.
    """
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
