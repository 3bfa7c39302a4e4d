"""What the codecs read alike: language tags, and why a text is none of their messages."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

import msgspec

from actors.speech.errors import AudioProcessingFailed, InvalidMessage, ModelNotFound, SpeechError

MAX_DETAIL = 200  # characters of a client's own words that are said back and logged

Tag = Literal["type", "event"]
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,5}")  # BCP-47 in shape; Riva's `multi` is one too


def require_language(language: str, field: str = "language") -> None:
    """Check that a language could be one; whether anybody recognises it is for the backends to say.

    Raises:
        ModelNotFound: naming the field.
    """
    if not _LANGUAGE.fullmatch(language):
        raise ModelNotFound(f"{field} {language[:40]!a}: expected a BCP-47 tag such as 'en-US'")


class _ByType(msgspec.Struct, frozen=True):
    type: str


class _ByEvent(msgspec.Struct, frozen=True):
    event: str


_KINDS: dict[str, type[_ByType | _ByEvent]] = {"type": _ByType, "event": _ByEvent}


def explained(
    message: str,
    cause: Exception,
    known: Collection[str],
    *,
    tag: Tag = "type",
    audio: str = "audio",
    hint: str = "",
) -> SpeechError:
    """The error for a text that is none of a protocol's messages, read again leniently to say what it lacks.

    Args:
        cause: what the strict reading raised.
        known: the names of the messages there are.
        tag: the field that has the name.
        audio: the field that has base64.
        hint: said to whoever sends no JSON at all.
    """
    try:
        name: str = getattr(msgspec.json.decode(message, type=_KINDS[tag]), tag)
    except msgspec.ValidationError as exc:
        return InvalidMessage(line(exc))
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, and so is a lone surrogate's
        return InvalidMessage(f"text that is not JSON ({line(cause)}){hint}")
    if name not in known:
        return InvalidMessage(f"unknown {tag} {name[:40]!a}: known are {', '.join(known)}")
    if "base64" in str(cause):
        return AudioProcessingFailed(f"{audio} is not base64 (RFC 4648, with padding)")
    return InvalidMessage(f"{name}: {line(cause)}")


def line(exc: Exception) -> str:
    """An error's text as part of a sentence."""
    text = " ".join(str(exc).split())[:MAX_DETAIL]
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]
