"""Sessions of a real browser: its microphone, its network and its server fail, and every word is there once."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from bench.faults.players import backend
from bench.faults.stage import Stage
from bench.proxy import Proxy
from bench.riva import CodedSpeech, Plan
from tests.transport.web.stage import all_of, begin, browser, coded, house, microphone, seen, until, words

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("resample", "blobs"),
    [("auto", True), ("always", True), ("auto", False)],
    ids=["browser resamples", "module resamples", "policy forbids blobs"],
)
async def test_what_the_microphone_hears_is_said(tmp_path: Path, resample: str, blobs: bool) -> None:
    speech = coded(20)
    async with house() as (_, proxy), browser(proxy, *microphone(tmp_path, speech)) as page:
        if not blobs:
            await page.evaluate("URL.createObjectURL = () => 'blob:null/none'")
        await begin(page, resample=resample)
        await until(page, "seen.finals.join(' ').split(' ').length >= 20")
        await page.evaluate("session.stop()")
        assert await words(page) == all_of(speech)
        told = await seen(page)
    assert told["states"] == ["requesting-mic", "connecting", "live", "draining", "closed"]
    assert (told["errors"], told["gaps"]) == ([], [])


@pytest.mark.parametrize("seconds", [1, 10, 40])
async def test_no_word_is_lost_while_the_network_is_away(tmp_path: Path, seconds: float) -> None:
    speech = coded(40)
    async with house() as (_, proxy), browser(proxy, *microphone(tmp_path, speech)) as page:
        await begin(page)
        await until(page, "seen.finals.length >= 1")
        await proxy.close()
        await until(page, "session.state === 'reconnecting'")
        await asyncio.sleep(seconds)
        await proxy.open()
        await until(page, "seen.finals.join(' ').split(' ').length >= 40")
        await page.evaluate("session.stop()")
        assert await words(page) == all_of(speech)
        told = await seen(page)
    assert [ready["resumed"] for ready in told["ready"]] == [False, True]
    assert (told["errors"], told["gaps"]) == ([], [])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
async def test_no_word_is_lost_while_the_server_is_restarted(tmp_path: Path, number: signal.Signals) -> None:
    speech = coded(40)
    async with Stage(1, 1, tmp_path, lambda line: None) as stage:
        (riva,) = await stage.rivas(Plan())
        server = await stage.voxtree(backend("primary", riva.port))
        proxy = await stage.proxy(server.port)
        async with browser(proxy, *microphone(tmp_path, speech)) as page:
            await begin(page)
            await until(page, "seen.finals.length >= 1")
            await server.end(number)
            await server.start()
            proxy.target = server.port
            await until(page, "seen.finals.join(' ').split(' ').length >= 40")
            await page.evaluate("session.stop()")
            assert await words(page) == all_of(speech)
            assert (await seen(page))["errors"] == []


async def test_no_word_is_lost_while_the_page_is_put_away_or_offline(tmp_path: Path) -> None:
    speech = coded(30)
    async with house() as (_, proxy), browser(proxy, *microphone(tmp_path, speech)) as page:
        await begin(page)
        await until(page, "seen.finals.length >= 1")
        await page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
        await until(page, "session.state === 'reconnecting'")
        await asyncio.sleep(1.0)
        assert await page.evaluate("session.state") == "reconnecting"  # it waits to be shown again
        await page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
        await until(page, "session.state === 'live'")
        await page.context.set_offline(True)
        await until(page, "session.problem?.code === 'NET_OFFLINE'")
        await page.context.set_offline(False)
        await until(page, "session.state === 'live'")
        await until(page, "seen.finals.join(' ').split(' ').length >= 30")
        await page.evaluate("session.stop()")
        assert await words(page) == all_of(speech)
        assert [ready["resumed"] for ready in (await seen(page))["ready"]] == [False, True, True]


async def test_what_the_socket_does_not_take_stays_in_the_ring(tmp_path: Path) -> None:
    speech = coded(20)
    async with house() as (_, proxy), browser(proxy, *microphone(tmp_path, speech)) as page:
        await begin(page)
        await until(page, "seen.finals.length >= 1")
        # Loopback takes megabytes before a browser counts anything as waiting.
        full = "{ get: () => 40000, configurable: true }"
        await page.evaluate(f"Object.defineProperty(session._socket, 'bufferedAmount', {full})")
        await until(page, "session._core.track.end - session._core.track.position > 16000")
        await page.evaluate("delete session._socket.bufferedAmount")
        await until(page, "seen.finals.join(' ').split(' ').length >= 20")
        await page.evaluate("session.stop()")
        assert await words(page) == all_of(speech)
        assert len((await seen(page))["ready"]) == 1


async def test_a_microphone_that_is_unplugged_is_time_and_another_one_goes_on(tmp_path: Path) -> None:
    speech = coded(20)
    async with house() as (_, proxy), browser(proxy, *microphone(tmp_path, speech)) as page:
        await begin(page)
        await until(page, "seen.finals.length >= 1")
        await page.evaluate("""() => {
            const [track] = session._microphone._stream.getAudioTracks();
            track.stop();
            track.dispatchEvent(new Event("ended"));
        }""")
        assert await page.evaluate("session.problem.code") == "MIC_UNPLUGGED"
        before = await page.evaluate("session._core.track.end")
        await until(page, f"session._core.track.end > {before} + 16000")
        await page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
        await until(page, "session.problem === null")
        await until(page, "seen.finals.lastIndexOf('w0 w1 w2 w3 w4 w5 w6 w7 w8 w9') > 0")  # the file, from its start
        assert await page.evaluate("session.state") == "live"


LOAD = """async (samples) => {
    const { VoxtreeSession } = await import("/client.js");
    window.minute = Int16Array.from(samples);
    window.heard = 0;
    window.session = new VoxtreeSession({ url: "/transcribe" });
    session.on("final", ({ words }) => { window.heard += words.length; });
    await session.start({ microphone: false });
}"""


async def test_half_an_hour_leaves_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    minutes, said = 30, 150  # words in a minute of which a fifth is speech
    async with house() as (_, proxy), browser(proxy) as page:
        cdp = await page.context.new_cdp_session(page)

        async def used() -> float:
            await cdp.send("HeapProfiler.collectGarbage")
            heap = await cdp.send("Runtime.getHeapUsage")
            return float(heap["usedSize"]) / 2**20

        await page.evaluate(LOAD, coded_minute(said))
        memory = []
        for _ in range(minutes):
            await page.evaluate(
                "async () => { for (let at = 0; at < minute.length; at += 1600) "
                "await session.send(minute.subarray(at, at + 1600)); }"
            )
            memory.append(await used())
        await page.evaluate("session.stop()")
        assert await page.evaluate("heard") == minutes * said
    assert max(memory[-5:]) <= memory[0] + 1.0, memory


def coded_minute(said: int) -> list[int]:
    """A minute at 16 kHz: so many words, and silence."""
    pcm = CodedSpeech(words=said, pause=0.4).read(0, 60 * 16_000).ljust(2 * 60 * 16_000, b"\0")
    return list(memoryview(pcm).cast("h"))


async def test_the_network_may_be_away_before_the_session_is_there(tmp_path: Path) -> None:
    async with house() as (app, _):
        proxy = Proxy(target=int(app.url.rpartition(":")[2].partition("/")[0]))
        await proxy.open()
        async with browser(proxy, *microphone(tmp_path, coded(10))) as page:
            await page.evaluate("import('/client.js').then(() => {})")
            await proxy.close()
            with pytest.raises(Exception, match="The server cannot be reached"):
                await begin(page)
            assert (await seen(page))["errors"] == ["NET_UNREACHABLE"]
            await proxy.open()
            await page.evaluate("session.resolve(session.problem)")  # what the button does
            await until(page, "session.state === 'live'")
        await proxy.close()
