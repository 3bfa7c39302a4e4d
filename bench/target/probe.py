"""Whether there is a voxtree endpoint, and a scripted Riva, where they are said to be; and if not, what to do."""

from __future__ import annotations

import asyncio

import grpc
import msgspec
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bench.riva import Plan
from transport.client.dialling import Dialler, Unreachable
from transport.expected import ExpectedError
from transport.wire.voxtree_v1_schema import ErrorMessage, ReadyMessage, ServerMessage

SECONDS = 10.0
_START = '{"event":"start","config":{"sample_rate":16000}}'


class Unusable(ExpectedError):
    """An endpoint cannot be measured. The message says why, and what to do."""


async def probe(url: str, key: str | None) -> None:
    """Begin a session and end it.

    Raises:
        Unusable: it could not be begun.
    """
    try:
        connection = await Dialler(url, key).dial("")
    except Unreachable as error:
        raise Unusable(_explained(url, key, error)) from error
    try:
        async with asyncio.timeout(SECONDS):
            await connection.send(_START)
            message = msgspec.json.decode(await connection.recv(), type=ServerMessage)
            await connection.send('{"event":"stop"}')
    except (ConnectionClosed, msgspec.MsgspecError, TimeoutError) as error:
        raise Unusable(f"{url} takes WebSockets, but does not speak voxtree.v1 ({error or 'no answer'})") from error
    finally:
        await connection.close()
    if isinstance(message, ErrorMessage):
        raise Unusable(f"{url} takes no session: {message.message} [{message.code}]")
    if not isinstance(message, ReadyMessage):
        raise Unusable(f"{url} takes WebSockets, but does not speak voxtree.v1: it did not begin with `ready`")


async def require_scripted(address: str) -> None:
    """Be sure that a scripted Riva is at an address.

    Raises:
        Unusable: there is none.
    """
    wanted = Plan().model
    async with grpc.aio.insecure_channel(address) as channel:
        ask = RivaSpeechRecognitionStub(channel).GetRivaSpeechRecognitionConfig
        try:
            answer = await ask(pb.RivaSpeechRecognitionConfigRequest(), timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Unusable(f"no Riva answers at {address} ({error.details()}): python -m bench riva") from error
    names = [config.model_name for config in answer.model_config]
    if wanted not in names:
        raise Unusable(
            f"the Riva at {address} is not the scripted one, which has the model {wanted} and not "
            f"{', '.join(names) or 'none'}: leave --riva out, and give --audio a recording"
        )


def _explained(url: str, key: str | None, error: Unreachable) -> str:
    cause = error.__cause__
    if not isinstance(cause, InvalidStatus):
        if isinstance(cause, OSError | TimeoutError):
            return (
                f"nobody answers at {url} ({cause or 'no answer in time'}): does the server run, and is that its port?"
            )
        return f"{url} does not take WebSockets ({cause}): is that the port for clients, and ws or wss?"
    match cause.response.status_code:
        case 401 | 403 if key is None:
            return f"{url} wants to know who we are: --key KEY"
        case 401 | 403 as status:
            return f"{url} does not take this key (HTTP {status})"
        case 429 | 503 as status:
            when = "" if error.retry_after is None else f"; it says to come back in {error.retry_after:g} s"
            return f"{url} is full, or is about to stop (HTTP {status}){when}"
        case status:
            return f"{url} is no voxtree endpoint (HTTP {status}): does its path end with /transcribe?"
