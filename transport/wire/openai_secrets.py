"""Client secrets as OpenAI's servers give them out: made by an application, used by its pages."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import TypeVar

import msgspec

from actors.speech.errors import InvalidMessage, SpeechError
from transport.wire.client_secrets import LIFETIME, ClientSecrets
from transport.wire.openai_realtime import refusal
from transport.wire.openai_realtime_schema import (
    BetaSecretRequest,
    Secret,
    SecretLifetime,
    SecretRequest,
    SecretValue,
)
from transport.wire.openai_settings import DEFAULTS, SessionSettings
from transport.wire.port import Answer, Request

_T = TypeVar("_T")
_write = msgspec.json.Encoder().encode


def client_secret(request: Request, *, secrets: ClientSecrets) -> Answer:
    """The answer to a POST to /v1/realtime/client_secrets: a secret for sessions with the given settings."""
    try:
        asked = _read(request.body, SecretRequest)
        settings = DEFAULTS.updated(asked.session)
    except SpeechError as error:
        return refusal(HTTPStatus.BAD_REQUEST, error)
    secret = _minted(settings, asked.expires_after, request.user, secrets)
    session = settings.session(_identity())
    return Answer(HTTPStatus.OK, _write(Secret(value=secret.value, expires_at=secret.expires_at, session=session)))


def transcription_session(request: Request, *, secrets: ClientSecrets) -> Answer:
    """The answer to a POST to /v1/realtime/transcription_sessions, where the beta has the same."""
    try:
        asked = _read(request.body, BetaSecretRequest)
        settings = DEFAULTS.updated(asked)
    except SpeechError as error:
        return refusal(HTTPStatus.BAD_REQUEST, error)
    lifetime = asked.client_secret.expires_at if asked.client_secret else SecretLifetime()
    secret = _minted(settings, lifetime, request.user, secrets)
    return Answer(HTTPStatus.OK, _write(settings.beta_session(_identity(), secret)))


def _read(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (ValueError, RecursionError) as exc:  # msgspec's errors are ValueErrors
        raise InvalidMessage(" ".join(str(exc).split())[:200]) from exc


def _minted(settings: SessionSettings, lifetime: SecretLifetime, user: str, secrets: ClientSecrets) -> SecretValue:
    seconds = LIFETIME if lifetime.seconds is None else lifetime.seconds
    value, expires_at = secrets.mint(settings.carry(), user=user, lifetime=seconds)
    return SecretValue(value=value, expires_at=expires_at)


def _identity() -> str:
    return f"sess_{uuid.uuid4().hex}"
