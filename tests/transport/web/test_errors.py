"""What a user reads when something is wrong: one plain sentence, and one button that does what helps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from riva.client.proto import riva_asr_pb2 as pb
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from actors.speech.catalogue import CATALOGUE, Action
from tests.transport.browser import expect, page
from tests.transport.riva_server import RivaServer
from tests.transport.web.stage import ALLOWED, QUIET, begin, browser, coded, house, microphone, seen, until
from transport.app import serving
from transport.client import Client
from transport.settings import Session, Settings

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
PROTOCOL = Subprotocol("voxtree.v1")
CANARY = "<img src=x onerror=\"document.body.textContent=''\"><script>document.body.textContent=''</script>"
LABELS = {
    Action.NONE: None,
    Action.RECONNECT: "Reconnect now",
    Action.RETRY: "Try again",
    Action.STOP_RECORDING: "Stop recording",
    Action.FIX_CONFIG: "Change the settings",
    Action.NEW_SESSION: "Start a new session",
    Action.NEW_TOKEN: "Sign in again",
}
SHOW = """async ({ code, more, texts }) => {
    const { VoxtreeError, VoxtreeSession } = await import("/client.js");
    const session = (window.session = new VoxtreeSession({ url: "/transcribe", texts, onSettings: () => {} }));
    window.off = session.renderError(document.getElementById("problem"));
    session._setProblem(new VoxtreeError(code, more));
}"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def show(page: Page, code: str, more: object = None, texts: object = None) -> None:
    await page.evaluate(SHOW, {"code": code, "more": more or {}, "texts": texts or {}})


async def test_every_code_has_its_sentence_and_its_button() -> None:
    async with house() as (_, proxy), browser(proxy) as page:
        known = await page.evaluate("import('/client.js').then(({ codes }) => codes())")
        for entry in CATALOGUE.values():
            await show(page, entry.code)
            await expect(page.locator(".voxtree-text")).to_have_text(entry.message)
            buttons = await page.locator(".voxtree-problem button").all_text_contents()
            assert buttons == ([] if LABELS[entry.action] is None else [LABELS[entry.action]])
        own = sorted(set(known) - set(CATALOGUE))
        for code in own:
            await show(page, code)
            text = await page.locator(".voxtree-text").text_content()
            assert text is not None
            assert text.endswith(".")
            buttons = await page.locator(".voxtree-problem :is(button, summary)").all_text_contents()
            assert len(buttons) == (0 if code in ("FILE_UNREADABLE", "PROTOCOL") else 1)
    assert {code.partition("_")[0] for code in own} == {"MIC", "NET", "TOKEN", "FILE", "PROTOCOL"}


async def test_texts_can_be_translated_and_are_texts() -> None:
    async with house() as (_, proxy), browser(proxy) as page:
        await show(page, "MIC_NONE", texts={"MIC_NONE": "Kein Mikrofon gefunden.", "retry": "Noch einmal"})
        await expect(page.locator(".voxtree-problem")).to_have_text("Kein Mikrofon gefunden.Noch einmal")
        await show(page, "UNKNOWN", {"message": CANARY, "detail": CANARY})
        await expect(page.locator(".voxtree-text")).to_have_text(CANARY)
        await page.evaluate("off()")
        await expect(page.locator(".voxtree-problem")).to_have_count(0)
        assert await page.locator("main img, main script").count() == 0


async def test_words_are_texts() -> None:
    async def says(requests: AsyncIterator[Any], _: Any) -> AsyncGenerator[Any, None]:
        async for request in requests:
            if request.audio_content:
                words = [pb.WordInfo(word=CANARY, start_time=100, end_time=400)]
                alternative = pb.SpeechRecognitionAlternative(transcript=CANARY, words=words)
                result = pb.StreamingRecognitionResult(alternatives=[alternative], is_final=True)
                yield pb.StreamingRecognizeResponse(results=[result])
                break
        async for _ in requests:
            pass

    async with RivaServer(says) as riva, serving(Settings(backends=(riva.endpoint(),)), private=True) as app:
        url = app.url.replace("ws://", "http://").removesuffix("transcribe")
        async with page(url, args=(*QUIET, ALLOWED, "--use-fake-device-for-media-stream")) as opened:
            await opened.get_by_role("button", name="Record").click()
            await expect(opened.locator("#lines p").first).to_have_text(CANARY)
            assert await opened.locator("main img, main script").count() == 0
            await opened.get_by_role("button", name="Stop").click()


# ---- the microphone


async def test_a_blocked_microphone_is_explained() -> None:
    async with house() as (_, proxy), browser(proxy, *QUIET, "--use-fake-device-for-media-stream") as page:
        await page.get_by_role("button", name="Record").click()
        await expect(page.locator(".voxtree-text")).to_have_text("The microphone is blocked for this page.")
        await page.get_by_text("Show how to allow it").click()
        await expect(page.locator(".voxtree-problem details p")).to_be_visible()
        await page.context.grant_permissions(["microphone"])
        await expect(page.locator(".voxtree-problem")).to_have_count(0)
        await page.get_by_role("button", name="Record").click()
        await expect(page.locator("#state")).to_have_text("live")


async def test_where_there_is_no_microphone_that_is_said() -> None:
    async with house() as (_, proxy), browser(proxy, *QUIET, ALLOWED) as page:
        await page.get_by_role("button", name="Record").click()
        await expect(page.locator(".voxtree-text")).to_have_text(
            "No microphone was found. Plug one in, then try again."
        )


async def test_pages_that_are_not_secure_have_no_microphone() -> None:
    async with house() as (_, proxy):
        url = f"http://insecure.test:{proxy.port}/"
        rules = "--host-resolver-rules=MAP insecure.test 127.0.0.1"
        async with page(url, args=(*QUIET, rules), expects_errors=True) as opened:
            await opened.get_by_role("button", name="Record").click()
            await expect(opened.locator(".voxtree-problem")).to_have_attribute("data-code", "MIC_INSECURE")
            await expect(opened.get_by_role("button", name="Open the secure page")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "code"), [("NotReadableError", "MIC_IN_USE"), ("AbortError", "MIC_IN_USE"), ("TypeError", "MIC_FAILED")]
)
async def test_what_else_browsers_say_of_microphones_is_told_apart(name: str, code: str) -> None:
    async with house() as (_, proxy), browser(proxy) as page:
        await page.evaluate(
            "(name) => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name)); }",
            name,
        )
        await page.get_by_role("button", name="Record").click()
        await expect(page.locator(".voxtree-problem")).to_have_attribute("data-code", code)


# ---- the server


async def test_a_busy_server_is_tried_again_when_it_said(tmp_path: Path) -> None:
    async with (
        house(session=Session(max_sessions=1)) as (app, proxy),
        browser(proxy, *microphone(tmp_path, coded(10))) as page,
        Client(app.url).session() as first,
    ):
        await page.get_by_role("button", name="Record").click()
        await expect(page.locator(".voxtree-text")).to_have_text(CATALOGUE["CONN_005"].message)
        await expect(page.get_by_role("button", name="Try again (")).to_be_visible()
        first.stop()
        async for _ in first:
            pass
        await expect(page.locator("#state")).to_have_text("live", timeout=15_000)
        await expect(page.locator(".voxtree-problem")).to_have_count(0)


async def test_an_unknown_language_is_to_be_chosen_again(tmp_path: Path) -> None:
    async with house() as (_, proxy), browser(proxy, *microphone(tmp_path, coded(10))) as page:
        await page.locator("#language").select_option("de-DE")
        await page.get_by_role("button", name="Record").click()
        await expect(page.locator(".voxtree-text")).to_have_text(CATALOGUE["RIVA_002"].message)
        await page.get_by_role("button", name="Change the settings").click()
        await expect(page.locator("#language")).to_be_focused()


@asynccontextmanager
async def gate(target: str, allowed: set[str]) -> AsyncGenerator[str, None]:
    """A server that lets nobody in who has no good token, before one that lets in everybody."""

    async def guard(client: ServerConnection) -> None:
        assert client.request is not None
        offered = client.request.headers["Sec-WebSocket-Protocol"].split(", ")
        if not allowed & set(offered):
            error = {"event": "error", "code": "CONN_004", "message": CATALOGUE["CONN_004"].message, "fatal": True}
            await client.send(json.dumps(error | {"action": "fix_config", "ref": "r"}))
            await client.close(4401)
            return
        async with connect(target + client.request.path.removeprefix("/transcribe"), compression=None) as server:

            async def pass_on(source: Any, sink: Any) -> None:
                try:
                    async for message in source:
                        await sink.send(message)
                except ConnectionClosed:
                    pass
                await sink.close()

            await asyncio.gather(pass_on(client, server), pass_on(server, client))

    async with serve(guard, "127.0.0.1", 0, compression=None, subprotocols=[PROTOCOL]) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/transcribe"


async def test_an_expired_token_is_renewed_once(tmp_path: Path) -> None:
    good = {"base64url.bearer.voxtree.bmV3IHRva8OpbiE"}  # "new tokén!"
    async with (
        house() as (app, proxy),
        gate(app.url, good) as url,
        browser(proxy, *microphone(tmp_path, coded(10))) as page,
    ):
        assert await page.evaluate(BEGINS_WITH_TOKENS, {"url": url, "tokens": ["old", "new tokén!"]}) == [
            "live",
            [False, True],
        ]
        await page.evaluate("session.stop()")
        refused = await page.evaluate(BEGINS_WITH_TOKENS, {"url": url, "tokens": ["old", "older"]})
        assert refused == ["CONN_004", [False, True]]


BEGINS_WITH_TOKENS = """async ({ url, tokens }) => {
    const { VoxtreeSession } = await import("/client.js");
    const asked = [];
    const getToken = async ({ refresh }) => (asked.push(refresh), tokens[asked.length - 1]);
    window.session = new VoxtreeSession({ url, getToken });
    try {
        await session.start();
    } catch ({ code }) {
        return [code, asked];
    }
    return [session.state, asked];
}"""


async def test_a_session_that_is_gone_is_begun_anew(tmp_path: Path) -> None:
    async with (
        house(session=Session(resume_window=1.0)) as (_, proxy),
        browser(proxy, *microphone(tmp_path, coded(20))) as page,
    ):
        await begin(page)
        await page.evaluate("session.renderError(document.getElementById('problem')), undefined")
        await until(page, "seen.finals.length >= 1")
        await proxy.close()
        await expect(page.get_by_role("button", name="Reconnect now")).to_be_visible()
        await asyncio.sleep(2.0)
        await proxy.open()
        await expect(page.locator(".voxtree-text")).to_have_text(CATALOGUE["CONN_008"].message)
        await page.get_by_role("button", name="Start a new session").click()
        await until(page, "session.state === 'live'")
        assert (await seen(page))["errors"] == ["CONN_008"]


async def test_a_server_that_does_not_speak_the_protocol_is_told_from_one_that_fails() -> None:
    async def babble(client: ServerConnection) -> None:
        await client.send("<html>")
        await client.wait_closed()

    async with serve(babble, "127.0.0.1", 0, subprotocols=[PROTOCOL]) as server, house() as (_, proxy):
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/transcribe"
        async with browser(proxy) as page:
            code = await page.evaluate(
                """async (url) => {
                    const { VoxtreeSession } = await import("/client.js");
                    const session = new VoxtreeSession({ url });
                    return session.start({ microphone: false }).catch((error) => error.code);
                }""",
                url,
            )
    assert code == "PROTOCOL"
