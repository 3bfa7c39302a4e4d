"""The page as people use it: the microphone, a recording, what is taken away, without a mouse, on a phone."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.transport.browser import expect, page
from tests.transport.web.stage import after_a_moment, all_of, browser, coded, house, plays
from transport.app import serving
from transport.auth.keys import new_key
from transport.cli.recording import RECORDING, SENTENCES
from transport.settings import Auth, Embedded, Settings

if TYPE_CHECKING:
    from playwright.async_api import Dialog, Download, Page

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def recording(folder: Path, words: int) -> Path:
    speech = coded(words)
    path = folder / "recording.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(speech.rate)
        wav.writeframes(speech.read(0, speech.samples))
    return path


async def saved(download: Download, folder: Path) -> str:
    await download.save_as(folder / download.suggested_filename)
    return download.suggested_filename


async def shown(page: Page) -> list[str]:
    return " ".join(await page.locator("#lines p").all_text_contents()).split()


async def test_what_is_said_is_read(tmp_path: Path) -> None:
    with wave.open(str(RECORDING)) as wav:
        spoken = after_a_moment(tmp_path, wav.readframes(wav.getnframes()), wav.getframerate())
    settings = Settings(embedded=Embedded(max_streams=2))
    async with serving(settings, private=True) as app:
        url = app.url.replace("ws://", "http://").removesuffix("transcribe")
        async with page(url, args=plays(spoken)) as opened:
            await opened.get_by_role("button", name="Record").click()
            await expect(opened.locator("#state")).to_have_text("live")
            for line in SENTENCES[1:]:  # what browsers do to a voice has settled by then
                await expect(opened.locator("#lines p").get_by_text(line)).to_be_visible(timeout=30_000)
            await opened.get_by_role("button", name="Stop").click()
            await expect(opened.locator("#state")).to_have_text("ready")


async def test_a_recording_is_read_and_taken_away_in_every_form(tmp_path: Path) -> None:
    async with house() as (_, proxy), browser(proxy, accept_downloads=True) as opened:
        await opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await opened.locator("#file").set_input_files(recording(tmp_path, 20))
        await expect(opened.locator("#lines p")).to_have_count(2)
        assert await shown(opened) == all_of(coded(20))
        taken = {}
        for kind in ("txt", "srt", "vtt", "json"):
            await opened.locator("#save summary").click()
            async with opened.expect_download() as download:
                await opened.locator(f"[data-save={kind}]").click()
            taken[kind] = (tmp_path / await saved(await download.value, tmp_path)).read_text()
        await opened.locator("#save summary").click()
        await opened.get_by_role("button", name="Copy text").click()
        await expect(opened.locator("#said")).to_have_text("copied")
        copied = await opened.evaluate("navigator.clipboard.readText()")
    assert copied == taken["txt"]
    assert taken["txt"].split() == all_of(coded(20))
    assert taken["srt"].startswith("1\n00:00:00,000 --> 00:00:01,")
    assert taken["vtt"].startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.")
    first, second = json.loads(taken["json"])
    assert (len(first["words"]), len(second["words"])) == (10, 10)
    assert first["endMs"] <= second["startMs"] + 1


async def test_a_recording_that_is_stopped_gives_what_was_sent_and_times_go_on_in_the_next(tmp_path: Path) -> None:
    async with house() as (_, proxy), browser(proxy, accept_downloads=True) as opened:
        await opened.locator("#file").set_input_files(recording(tmp_path, 600))
        await expect(opened.locator("#lines p").first).to_be_visible()
        await opened.get_by_role("button", name="Stop").click()
        await expect(opened.locator("#state")).to_have_text("ready", timeout=30_000)
        first = await shown(opened)
        assert first == all_of(coded(600))[: len(first)]
        await opened.locator("#file").set_input_files(recording(tmp_path, 10))
        await expect(opened.locator("#lines p").last).to_have_text(" ".join(all_of(coded(10))))
        await expect(opened.locator("#state")).to_have_text("ready")
        await expect(opened.locator(".voxtree-problem")).to_have_count(0)
        await opened.locator("#save summary").click()
        async with opened.expect_download() as download:
            await opened.locator("[data-save=json]").click()
        lines = json.loads((tmp_path / await saved(await download.value, tmp_path)).read_text())
    assert lines[-1]["startMs"] >= lines[-2]["endMs"]


async def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear all,")
    async with house() as (_, proxy), browser(proxy) as opened:
        await opened.locator("#file").set_input_files(path)
        await expect(opened.locator(".voxtree-text")).to_have_text(
            "This file holds no audio that the browser can read."
        )
        await opened.locator("#file").set_input_files(recording(tmp_path, 10))
        await expect(opened.locator("#lines p")).to_have_count(1)
        await expect(opened.locator(".voxtree-problem")).to_have_count(0)


async def test_what_failed_and_healed_is_kept(tmp_path: Path) -> None:
    async with house() as (_, proxy), browser(proxy, *plays(recording(tmp_path, 10))) as opened:
        await opened.get_by_role("button", name="Record").click()
        await expect(opened.locator("#state")).to_have_text("live")
        await proxy.close()
        await expect(opened.locator("#state")).to_have_text("reconnecting")
        await expect(opened.locator(".voxtree-text")).to_have_text(
            "The connection was lost. Keep talking, what you say is kept."
        )
        await proxy.open()
        await expect(opened.locator("#state")).to_have_text("live")
        await opened.get_by_text("What happened").click()
        healed = opened.locator("#events li.healed")
        await expect(healed).to_contain_text("Connected again. (after ")
        await expect(opened.locator("#events li.failed")).to_contain_text("The connection was lost.")


async def test_it_can_be_used_without_a_mouse(tmp_path: Path) -> None:
    async with house() as (_, proxy), browser(proxy, *plays(recording(tmp_path, 10))) as opened:
        await opened.locator("body").press("Space")
        await expect(opened.locator("#state")).to_have_text("live")
        await expect(opened.locator("#record")).to_have_attribute("aria-pressed", "true")
        await opened.locator("body").press("Space")
        await expect(opened.locator("#state")).to_have_text("ready")
        for name in ("To the transcript", "language", "record", "file", "Save"):
            await opened.keyboard.press("Tab")
            focused = await opened.evaluate("document.activeElement.id || document.activeElement.textContent")
            assert focused == name
        await opened.keyboard.press("Enter")
        await expect(opened.get_by_role("button", name="Copy text")).to_be_visible()
        await opened.keyboard.press("Escape")
        await expect(opened.get_by_role("button", name="Copy text")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone_and_has_contrast(scheme: str) -> None:
    phone = {"width": 360, "height": 640}
    async with house() as (_, proxy), browser(proxy, viewport=phone, color_scheme=scheme) as opened:
        await opened.locator("#save summary").click()
        assert await opened.evaluate("document.documentElement.scrollWidth") == 360
        assert await opened.evaluate("document.documentElement.scrollHeight") <= 640
        assert await opened.evaluate(CONTRASTS) == []


# What WCAG 2.2 asks of text (AA): 4.5 to 1 against what is behind it.
CONTRASTS = """() => {
    const light = (color) => {
        const linear = (x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = color.match(/[\\d.]+/g).map((x) => linear(x / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const { backgroundColor } = getComputedStyle(at);
            if (!/rgba\\(.*, 0\\)|transparent/.test(backgroundColor)) return backgroundColor;
        }
        return "rgb(255, 255, 255)";
    };
    const poor = [];
    for (const element of document.querySelectorAll("body *")) {
        const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!text || element.closest(".unseen, script, option, noscript") || !element.checkVisibility()) continue;
        const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([element.textContent, (a + 0.05) / (b + 0.05)]);
    }
    return poor;
}"""


async def test_a_server_that_asks_for_a_key_is_given_the_speakers(tmp_path: Path) -> None:
    key, line = new_key("ann")
    file = tmp_path / "keys"
    file.write_text(line)
    answers = ["wrong", key]
    asked: list[str] = []

    async def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        await dialog.accept(answers[len(asked) - 1])

    auth = Auth(mode="keys", keys_file=str(file))
    async with house(auth=auth) as (app, proxy), browser(proxy, *plays(recording(tmp_path, 30))) as opened:
        opened.on("dialog", answer)
        await opened.get_by_role("button", name="Record").click()
        await expect(opened.locator("#problem")).to_contain_text("Please sign in again.")
        await opened.get_by_role("button", name="Sign in again").click()
        await expect(opened.locator("#state")).to_have_text("live")
        assert asked == ["This server asks for your key:"] * 2
        assert [session.record.user for session in app.sessions.live()] == ["ann"]
