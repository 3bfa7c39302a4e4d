"""Static keys: made once, shown once, and kept as hashes only.

A file has one line for each, `NAME:HASH`; the name is the user. Several lines may have the same name, so that a new key
can be given out before the old one goes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from actors.speech.errors import NotAuthenticated
from transport.layers import SettingsError

PREFIX = "vox_"  # for scanners that look for secrets where there should be none
KEY_BYTES = 32  # random ones: nobody tries 2^256 of them, so a plain hash is as good as a slow one

_NAME = re.compile(r"[A-Za-z0-9._~@-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")


class ApiKeys:
    """Knows keys by their hashes.

    Looking one up takes a time that depends on its hash alone, which tells nothing about any other key.
    """

    def __init__(self, users: Mapping[bytes, str]) -> None:
        self._users = users

    @classmethod
    def read(cls, file: str) -> ApiKeys:
        """Those in a file.

        Raises:
            SettingsError: it cannot be read, has a line that is none, or no key at all.
        """
        where = f"auth.keys_file: {file}"
        try:
            text = Path(file).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise SettingsError(f"{where}: {(reason or str(error)).lower()}") from None
        users = dict(_entries(text, where))
        if not users:
            raise SettingsError(f"{where}: there is no key in it; `voxtree keys new NAME --file {file}` adds one")
        return cls(users)

    def user(self, credential: str) -> str:
        """See `Authority.user`."""
        user = self._users.get(_digest(credential))
        if user is None:
            raise NotAuthenticated("this key is not known")
        return user


def new_key(name: str) -> tuple[str, str]:
    """A new key for a user, and the line for the file.

    Raises:
        ValueError: nobody can be called so.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r}: a name has 1 to 64 of A-Z a-z 0-9 . _ ~ @ -")
    key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    return key, f"{name}:{_digest(key).hex()}"


def _entries(text: str, where: str) -> Iterator[tuple[bytes, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, _, digest = entry.partition(":")
        if _NAME.fullmatch(name) is None or _HASH.fullmatch(digest) is None:  # and what is there is not shown
            raise SettingsError(f"{where}: line {number} is not NAME:HASH, as `voxtree keys new NAME` makes it")
        yield bytes.fromhex(digest), name


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "replace")).digest()
