"""AES-256-GCM for what was said, with a key from a file."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12  # random: at 2^32 entries under one key the odds of a repeated one are still below 2^-32


class AesGcm:
    """A `Sealer`. What it gives is a nonce, then the cipher text and its tag: 28 bytes more than what went in.

    Raises:
        ValueError: the key is not of 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes, and AES-256 takes {KEY_BYTES}")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """See `Sealer`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, context)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """See `Sealer`."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
        except InvalidTag:
            raise ValueError("it was sealed with another key, or changed since") from None


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
