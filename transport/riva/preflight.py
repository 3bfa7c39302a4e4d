"""What an endpoint can recognise, asked before a stream and remembered for the next ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import msgspec
from riva.client.proto import riva_asr_pb2 as pb

from actors.speech.errors import BackendNotReady, ModelNotFound


class Model(msgspec.Struct, frozen=True):
    """One model that an endpoint has loaded. No languages: it does not say, or it takes any.

    `parameters` is all that the endpoint says of it, in its own words.
    """

    name: str
    languages: frozenset[str]  # BCP-47, lower case
    streaming: bool
    parameters: dict[str, str] = {}


class Models(msgspec.Struct, frozen=True):
    """Everything an endpoint has loaded."""

    models: tuple[Model, ...]

    def require(self, language: str, model: str, *, endpoint: str) -> None:
        """Check that a stream can be opened for a language, and for a model unless that is empty.

        Raises:
            ModelNotFound: with the list of what is there as the backend's words.
            BackendNotReady: when nothing at all is loaded (yet).
        """
        if not self.models:
            raise BackendNotReady("no model is loaded", endpoint=endpoint)
        fitting = [
            candidate
            for candidate in self.models
            if candidate.streaming
            and model in ("", candidate.name)
            and (not candidate.languages or language.lower() in candidate.languages)
        ]
        if not fitting:
            wanted = f"{language!r}" + (f" and model {model!r}" if model else "")
            raise ModelNotFound(
                f"no streaming model for language {wanted}", endpoint=endpoint, backend_detail=f"has {self}"
            )

    def __str__(self) -> str:
        return "; ".join(
            f"{model.name} ({'streaming' if model.streaming else 'offline'}: "
            f"{', '.join(sorted(model.languages)) or 'any language'})"
            for model in self.models
        )


def read_models(response: pb.RivaSpeechRecognitionConfigResponse) -> Models:
    """The models of a `GetRivaSpeechRecognitionConfig` answer."""
    return Models(tuple(_model(config.model_name, dict(config.parameters)) for config in response.model_config))


class Preflight:
    """Asks once for everybody: callers that come while the question is out share its answer.

    An answer that is too old still serves while it is asked for again: a stream that takes over from a broken one
    elsewhere should not wait for it. Only after a failure, or while nothing is loaded yet, is there no answer without
    asking.

    Args:
        ask: asks the endpoint; must return its failure instead of raising it, so that each caller can raise
            an exception of its own.
        max_age: seconds for which an answer is given again without asking.
    """

    def __init__(
        self, ask: Callable[[], Coroutine[Any, Any, Models | grpc.aio.AioRpcError]], *, max_age: float
    ) -> None:
        self._ask = ask
        self._max_age = max_age
        self._models: Models | None = None
        self._asked_at = 0.0
        self._asking: asyncio.Task[Models | grpc.aio.AioRpcError] | None = None

    async def get(self, *, fresh: bool = False) -> Models | grpc.aio.AioRpcError:
        """The remembered answer, unless there is none or a `fresh` one is wanted; else a new one, or its failure."""
        if fresh or self._models is None:
            return await asyncio.shield(self._question())  # one caller's cancellation is not the others'
        if asyncio.get_running_loop().time() - self._asked_at >= self._max_age:
            self._question()
        return self._models

    def forget(self) -> None:
        """Ask again next time: something failed, so what is loaded may have changed."""
        self._models = None

    async def aclose(self) -> None:
        """End the question that may be out."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    def _question(self) -> asyncio.Task[Models | grpc.aio.AioRpcError]:
        """The question that is out, or is now."""
        if self._asking is None:
            self._asked_at = asyncio.get_running_loop().time()
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._answered)
        return self._asking

    def _answered(self, task: asyncio.Task[Models | grpc.aio.AioRpcError]) -> None:
        self._asking = None
        if not task.cancelled() and task.exception() is None:
            answer = task.result()
            self._models = answer if isinstance(answer, Models) and answer.models else None


def _model(name: str, parameters: dict[str, str]) -> Model:
    """Riva says `type=online` or `streaming=True`; a model that says neither is taken to stream."""
    streaming = parameters.get("type", "online").lower() == "online"
    if "streaming" in parameters:
        streaming = parameters["streaming"].lower() in ("true", "1", "yes")
    codes = {code.strip().lower() for code in parameters.get("language_code", "").split(",")} - {""}
    languages: frozenset[str] = frozenset() if codes & {"multi", "*"} else frozenset(codes)
    return Model(name=name, languages=languages, streaming=streaming, parameters=parameters)
