"""Mutations that know what messages look like: JSON stays JSON more often than not, audio stays audio."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Sequence
from typing import Any

Message = str | bytes

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 1e308, -1e-308, 2**31, 2**63, 2**64, 10**40, [], {}, [[]], {"": ""},
    "", " ", "\x00", "\ud800", "\u202e", "é" * 300, "a" * 5000, "transcription", "audio/pcm", "pcm16", "none", "16000",
    "NaN", "true", "../..", "%00",
)  # fmt: skip
DEEP = 2000  # levels; beyond what any parser takes recursively
BYTES = b'RIFF\x00\xff\x80WAVEfmt OggS\x1aE\xdf\xa3fLaC\r\n\r\n:;,{}[]"\\'


class Mutator:
    """Makes conversations of other ones. The same seed gives the same ones."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def one_of(self, known: Sequence[bytes]) -> bytes:
        """Any of them."""
        return self._random.choice(known)

    def conversation(self, known: Sequence[Sequence[Message]]) -> list[Message]:
        """What a client may say that is confused, broken or malicious."""
        choose = self._random
        messages = list(choose.choice(known))
        for _ in range(choose.randint(1, 3)):
            match choose.randrange(6):
                case 0:
                    choose.shuffle(messages)
                case 1:
                    messages += messages
                case 2 if messages:
                    del messages[choose.randrange(len(messages))]
                case 3:
                    messages.insert(choose.randint(0, len(messages)), self.garbage())
                case _ if messages:
                    at = choose.randrange(len(messages))
                    messages[at] = self.message(messages[at])
        return messages[:12]

    def message(self, message: Message) -> Message:
        """Another message, more or less like this one."""
        if isinstance(message, bytes):
            return self.data(message)
        match self._random.randrange(8):
            case 0:
                return self.data(message.encode()).decode("utf-8", "replace")
            case 1:
                return message.encode()
            case 2:
                return message[: self._random.randint(0, len(message))]
            case _:
                return self._as_json(message)

    def data(self, data: bytes) -> bytes:
        """Bytes, more or less like these."""
        changed, choose = bytearray(data), self._random
        for _ in range(choose.randint(1, 4)):
            at = choose.randint(0, len(changed))
            match choose.randrange(5):
                case 0:
                    changed[at : at + choose.randint(1, 8)] = b""
                case 1:
                    changed[at:at] = choose.randbytes(choose.randint(1, 8))
                case 2:
                    changed[at:at] = bytes(choose.choices(BYTES, k=choose.randint(1, 6)))
                case 3:
                    changed = changed[at:] + changed[:at]
                case _ if at < len(changed):
                    changed[at] ^= 1 << choose.randrange(8)
        return bytes(changed)

    def garbage(self) -> Message:
        """What is not like anything."""
        choose = self._random
        match choose.randrange(5):
            case 0:
                return choose.randbytes(choose.randint(0, 64))
            case 1:
                return "".join(choose.choices(string.printable, k=choose.randint(0, 40)))
            case 2:
                return choose.choice("[{") * DEEP
            case 3:
                return '{"type":' * DEEP
            case _:
                return json.dumps(choose.choice(ODD))

    def _as_json(self, message: str) -> str:
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return message + "}"
        return json.dumps(self._value(value))

    def _value(self, value: Any) -> Any:
        """A JSON value with one thing in it changed."""
        choose = self._random
        if isinstance(value, dict) and value and choose.random() < 0.9:
            changed = dict(value)
            key = choose.choice(list(changed))
            match choose.randrange(6):
                case 0:
                    del changed[key]
                case 1:
                    changed[choose.choice(("type", "session", "config", "audio", "x", key + "s"))] = choose.choice(ODD)
                case _:
                    changed[key] = self._value(changed[key])
            return changed
        if isinstance(value, list) and value and choose.random() < 0.8:
            return [self._value(choose.choice(value)), *value]
        if isinstance(value, str) and value and choose.random() < 0.4:
            return self.data(value.encode("utf-8", "replace")).decode("utf-8", "replace")
        if isinstance(value, int | float) and choose.random() < 0.4:
            return choose.choice((value + 1, -value, value * 1000, float(value), str(value)))
        return choose.choice(ODD)
