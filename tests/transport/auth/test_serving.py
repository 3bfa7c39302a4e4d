"""A server that asks who clients are, met by real ones at each of its doors."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import grpc
import pytest
from riva.client.proto import riva_asr_pb2 as pb
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.transport.grpc_door.house import RIVA
from transport.app import App, serving
from transport.auth.keys import new_key
from transport.cli.main import main
from transport.cli.recording import RECORDING
from transport.client import Client, Ready, SessionFailed, SpeechEvent
from transport.layers import SettingsError
from transport.reload import reload
from transport.riva import Endpoint
from transport.settings import Admin, Auth, Dialects, Journal, Server, Settings

pytestmark = pytest.mark.anyio

NOWHERE = Endpoint(name="nowhere", address="127.0.0.1:1")
START = '{"event":"start","config":{"sample_rate":16000}}'


class Locked:
    """A server for Ann and Bob."""

    def __init__(self, app: App, settings: Settings, file: Path, keys: dict[str, str]) -> None:
        self.app = app
        self.settings = settings
        self.file = file
        self.keys = keys
        self.root = app.url.removesuffix("/transcribe")

    async def status(self, path: str = "/transcribe", **options: Any) -> tuple[int, str, str]:
        """What a WebSocket is refused with: status, body, and what it should present."""
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{self.root}{path}", **options)
        answer = refused.value.response
        return answer.status_code, (answer.body or b"").decode(), answer.headers.get("WWW-Authenticate", "")

    async def refusal(self, path: str = "/transcribe", **options: Any) -> tuple[int, str, str]:
        """The same, of the body what is said to developers."""
        status, body, present = await self.status(path, **options)
        return status, json.loads(body)["detail"], present

    async def chosen(self, path: str, *offered: str) -> str | None:
        """The subprotocol that is answered to a page's offer."""
        async with connect(f"{self.root}{path}", subprotocols=[Subprotocol(each) for each in offered]) as client:
            return client.subprotocol

    async def post(self, path: str, key: str) -> tuple[int, dict[str, Any]]:
        def asked() -> tuple[int, dict[str, Any]]:
            host, _, port = self.root.partition("//")[2].rpartition(":")
            connection = HTTPConnection(host, int(port), timeout=5)
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            connection.request("POST", path, "{}", {**headers, "Content-Type": "application/json"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            connection.close()
            return answer.status, body

        return await anyio.to_thread.run_sync(asked)


@asynccontextmanager
async def locked(folder: Path, **more: Any) -> AsyncGenerator[Locked, None]:
    made = {name: new_key(name) for name in ("ann", "bob")}
    file = folder / "keys"
    file.write_text("".join(f"{line}\n" for _, line in made.values()))
    settings = Settings(backends=(NOWHERE,), auth=Auth(mode="keys", keys_file=str(file)), **more)
    async with serving(settings, private=True) as app:
        yield Locked(app, settings, file, {name: key for name, (key, _) in made.items()})


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_without_a_key_that_is_known_nobody_speaks(tmp_path: Path) -> None:
    async with locked(tmp_path) as server:
        for path in ("/transcribe", "/transcribe/s1", "/v1/listen", "/v1/realtime", "/"):
            assert await server.refusal(path) == (401, "a key or token is missing", 'Bearer realm="voxtree"')
        wrong = await server.refusal(additional_headers=bearer("vox_wrong"))
        assert wrong == (401, "this key is not known", 'Bearer realm="voxtree"')
        in_address = await server.status(f"/transcribe?token={server.keys['ann']}")
        assert in_address[0] == 401
        for path in ("/v1/realtime/client_secrets", "/v1/realtime/transcription_sessions"):
            status, refused = await server.post(path, "")
            assert (status, refused["detail"]) == (401, "Please sign in again. (a key or token is missing)")
        assert len(server.app.sessions) == 0
        count = server.app.registry.get_sample_value
        assert count("voxtree_handshake_rejected_total", {"reason": "credentials"}) == 9


async def test_a_key_opens_a_session_that_is_its_users(tmp_path: Path) -> None:
    async with locked(tmp_path) as server, Client(server.app.url, server.keys["ann"]).session() as session:
        assert isinstance(await anext(aiter(session)), Ready)
        (live,) = server.app.sessions.live()
        assert live.record.user == "ann"


async def test_a_page_is_told_by_the_protocol_and_its_token_is_never_sent_back(tmp_path: Path) -> None:
    async with locked(tmp_path) as server:
        origin = Origin(server.root.replace("ws", "http", 1))
        async with connect(server.app.url, origin=origin) as client:
            problem = json.loads(await client.recv())
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        facts = {name: problem[name] for name in ("code", "message", "action", "detail", "fatal")}
        assert facts == {
            "code": "CONN_011",
            "message": "Please sign in again.",
            "action": "new_token",
            "detail": "a key or token is missing",
            "fatal": True,
        }
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
        key = server.keys["ann"]
        assert await server.chosen("/v1/listen", "token", key) == "token"
        assert await server.chosen("/v1/realtime", "realtime", f"openai-insecure-api-key.{key}") == "realtime"


async def test_a_key_makes_short_lived_secrets_for_pages_and_they_make_none(tmp_path: Path) -> None:
    async with locked(tmp_path) as server:
        status, made = await server.post("/v1/realtime/client_secrets", server.keys["ann"])
        assert status == 200
        secret = made["value"]
        async with connect(server.app.url, additional_headers=bearer(secret)) as client:
            await client.send(START)
            assert json.loads(await client.recv())["event"] == "ready"
            (live,) = server.app.sessions.live()
            assert live.record.user == "ann"
        assert await server.chosen("/v1/realtime", "realtime", f"realtime-token.{secret}") == "realtime"
        status, refused = await server.post("/v1/realtime/client_secrets", secret)
        assert (status, refused["code"]) == (401, "CONN_011")
        assert refused["detail"] == "Please sign in again. (this client secret is not known, or has expired)"
        assert (await server.status(additional_headers=bearer(secret[:-2])))[0] == 401


async def test_rivas_clients_carry_their_key_in_metadata(tmp_path: Path) -> None:
    async with locked(tmp_path, dialects=Dialects(riva_port=0)) as server:
        door = server.app.other_doors()["riva over gRPC"]
        async with grpc.aio.insecure_channel(f"{door.host}:{door.port}") as channel:
            ask = channel.unary_unary(
                f"{RIVA}/GetRivaSpeechRecognitionConfig",
                request_serializer=pb.RivaSpeechRecognitionConfigRequest.SerializeToString,
            )
            stream = channel.stream_stream(f"{RIVA}/StreamingRecognize")
            for call in (ask(pb.RivaSpeechRecognitionConfigRequest()), stream(iter([b""]))):
                assert await call.code() == grpc.StatusCode.UNAUTHENTICATED
                assert await call.details() == "Please sign in again. (a key or token is missing)"
            metadata = (("authorization", f"Bearer {server.keys['bob']}"),)
            call = ask(pb.RivaSpeechRecognitionConfigRequest(), metadata=metadata)
            assert await call.code() == grpc.StatusCode.UNAVAILABLE  # it is let in, and no backend answers


async def test_a_key_is_revoked_and_another_given_out_without_a_restart(tmp_path: Path) -> None:
    async with locked(tmp_path) as server:
        key, line = new_key("carl")
        async with connect(server.app.url, additional_headers=bearer(server.keys["ann"])) as client:
            await client.send(START)
            assert json.loads(await client.recv())["event"] == "ready"
            server.file.write_text(line)
            await reload(server.app, server.settings, lambda: server.settings)
            assert (await server.status(additional_headers=bearer(server.keys["ann"])))[0] == 401
            async with connect(server.app.url, additional_headers=bearer(key)):
                pass
            await client.send('{"event":"ping"}')  # who is in stays
            server.file.write_text("nonsense")
            await reload(server.app, server.settings, lambda: server.settings)
            async with connect(server.app.url, additional_headers=bearer(key)):
                pass  # a file that is wrong changes nothing


async def test_the_session_of_another_user_is_out_of_reach_on_the_wire(tmp_path: Path) -> None:
    async with locked(tmp_path) as server:
        async with connect(f"{server.app.url}/s1", additional_headers=bearer(server.keys["ann"])) as ann:
            await ann.send(START)
            ready = json.loads(await ann.recv())
            resume = {"token": ready["resume_token"], "seq": 0, "end": 0, "oldest": 0}
            said = json.dumps({"event": "start", "config": {"sample_rate": 16000}, "resume": resume})
            for message, code, close in ((START, "CONN_009", 4409), (said, "CONN_008", 4404)):
                async with connect(f"{server.app.url}/s1", additional_headers=bearer(server.keys["bob"])) as bob:
                    await bob.send(message)
                    assert json.loads(await bob.recv())["code"] == code
                    with pytest.raises(ConnectionClosed) as closed:
                        await bob.recv()
                    assert closed.value.rcvd is not None
                    assert closed.value.rcvd.code == close
            ann.transport.abort()
        async with connect(f"{server.app.url}/s1", additional_headers=bearer(server.keys["ann"])) as ann:
            await ann.send(said)
            assert json.loads(await ann.recv())["resumed"] is True


async def test_our_client_asks_for_another_token_when_its_own_has_expired(tmp_path: Path) -> None:
    async with locked(tmp_path) as server:
        given = iter(["vox_of_yesterday", server.keys["ann"]])
        asked = 0

        async def token() -> str:
            nonlocal asked
            asked += 1
            return next(given)

        client = Client(server.app.url, token)
        with pytest.raises(SessionFailed, match="CONN_011"):  # one that is new and refused is not fetched again
            await _begun(client)
        assert isinstance(await _begun(client), Ready)
        assert asked == 2


async def _begun(client: Client) -> SpeechEvent:
    async with client.session() as session:
        return await anext(aiter(session))


async def test_no_key_is_ever_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with locked(tmp_path) as server:
        for key in (server.keys["ann"], "vox_CANARY"):
            offers: tuple[dict[str, Any], ...] = (
                {"additional_headers": bearer(key)},
                {"subprotocols": [Subprotocol("token"), Subprotocol(key)]},
            )
            for offer in offers:
                with suppress(InvalidStatus):
                    async with connect(server.app.url, logger=logging.getLogger("quiet"), **offer):
                        pass
        ours = [record.getMessage() for record in caplog.records if record.name.startswith(("voxtree", "transport"))]
        assert not [line for line in ours if "CANARY" in line or server.keys["ann"] in line]
        assert [line for line in ours if "CONN_011" in line]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "voxtree.example.com"])
async def test_a_server_that_others_reach_asks_who_they_are_unless_told_not_to(host: str) -> None:
    with pytest.raises(ValueError, match=r"set auth\.mode to keys or jwt, or auth\.allow_public to true"):
        Settings(server=Server(host=host))
    assert Settings(server=Server(host=host), auth=Auth(allow_public=True)).auth.mode == "none"
    assert Settings(server=Server(host=host), auth=Auth(mode="keys", keys_file="k")).auth.mode == "keys"


@pytest.mark.parametrize(
    ("auth", "problem"),
    [
        ({"mode": "keys"}, "takes a keys_file"),
        ({"keys_file": "k"}, "takes a keys_file"),
        ({"mode": "jwt", "issuer": "i", "audience": "a"}, "takes a key_file or a jwks_url, and not both"),
        ({"mode": "jwt", "key_file": "k"}, "takes an issuer and an audience"),
        ({"key_file": "k"}, "are for mode = jwt"),
        *(
            ({"mode": "jwt", "issuer": "i", "audience": "a", "jwks_url": url}, "jwks_url begins with https://")
            for url in ("http://login.example.com/keys", "ftp://127.0.0.1/", "https:///keys", "file:///etc/passwd")
        ),
    ],
)
async def test_settings_that_let_in_nobody_or_anybody_are_told(auth: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Auth(**auth)


async def test_a_server_does_not_start_without_its_keys(tmp_path: Path) -> None:
    settings = Settings(backends=(NOWHERE,), auth=Auth(mode="keys", keys_file=str(tmp_path / "none")))
    with pytest.raises(SettingsError, match="no such file"):
        async with serving(settings, private=True):
            pass


async def test_a_sibling_that_shares_the_journal_gives_a_session_to_its_user_alone(tmp_path: Path) -> None:
    made = {name: new_key(name) for name in ("ann", "bob")}
    file = tmp_path / "keys"
    file.write_text("".join(f"{line}\n" for _, line in made.values()))
    settings = Settings(
        backends=(NOWHERE,),
        server=Server(port=0),
        admin=Admin(port=0),
        journal=Journal(path=str(tmp_path / "journal.db")),
        auth=Auth(mode="keys", keys_file=str(file)),
    )
    ann, bob = (bearer(made[name][0]) for name in ("ann", "bob"))

    async def told(app: App, headers: dict[str, str], message: str) -> dict[str, Any]:
        async with connect(f"{app.url}/s1", additional_headers=headers) as client:
            await client.send(message)
            answer: dict[str, Any] = json.loads(await client.recv())
            client.transport.abort()  # its network is gone
            return answer

    async with serving(settings) as here, serving(settings) as sibling:
        ready = await told(here, ann, START)
        resume = {"token": ready["resume_token"], "seq": 0, "end": 0, "oldest": 0}
        said = json.dumps({"event": "start", "config": {"sample_rate": 16000}, "resume": resume})
        assert (await told(sibling, bob, START))["code"] == "CONN_009"
        assert (await told(sibling, bob, said))["code"] == "CONN_008"
        assert (await told(sibling, ann, said))["resumed"] is True


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file or directory"),
        ("", "it takes one key or token"),
        ("two words", "it takes one key or token"),
    ],
)
def test_a_command_without_a_usable_token_says_so(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    problem: str,
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    url = "ws://127.0.0.1:1/transcribe"
    monkeypatch.setattr(logging, "disable", lambda level: None)  # it would hold for the tests that follow
    assert main(["transcribe", str(RECORDING), "--url", url, "--token-file", str(file)]) == 2
    assert f"--token-file {file}: {problem}" in capsys.readouterr().err
