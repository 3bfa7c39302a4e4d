"""AES-256-GCM for what was said."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transport.journal.keys import KEY_BYTES

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
