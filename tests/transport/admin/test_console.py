"""The console in a real browser: of real servers, and of states of any size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from actors.speech.ports import Tier
from bench.riva import Plan, ScriptedRiva
from bench.riva.faults import At, Status
from tests.transport.admin.servers import asked, backend, riva_and_server, server, speaker, until
from tests.transport.admin.states import session, state
from tests.transport.admin.test_access import TOKEN
from tests.transport.browser import expect, page
from transport.admin.access import Access
from transport.admin.board import Board
from transport.admin.pages import Pages
from transport.admin.server import AdminServer
from transport.admin.state import Check, Moment, State, Timeline
from transport.app import App, serving
from transport.settings import Admin, Settings

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # each starts a browser
TALE = Timeline(events=3, moments=(Moment(at=1_800_000_000.25, what="opened", text="begun, epoch 1"),))
CANARY = "<img src=x onerror=document.body.remove()>"


class Stage:
    """An admin port that shows what it is told to."""

    def __init__(self, shown: State, access: Access) -> None:
        self.now = 1000.0
        self.board = Board(lambda: self.now)
        self.board.beat({}, started=True)
        self.board.publish(shown)
        pages = Pages(self.board, CollectorRegistry(), access, lambda session: TALE)
        self.server = AdminServer("127.0.0.1", 0, pages)
        self.console = f"{self.server.url}/console"

    async def stop(self) -> None:
        await asyncio.to_thread(self.server.stop)


@asynccontextmanager
async def stage(shown: State, access: Access | None = None) -> AsyncGenerator[Stage, None]:
    stage = Stage(shown, access or Access(None))
    try:
        yield stage
    finally:
        await stage.stop()


def console(app: App) -> str:
    assert app.admin is not None
    return f"{app.admin.url}/console"


async def names(page: Page) -> list[str]:
    """The sessions that are listed."""
    return await page.locator("#rows a").all_text_contents()


# ---- real servers


async def test_it_shows_sessions_backends_and_the_tree_of_a_real_server() -> None:
    async with riva_and_server() as app, speaker(app, "call-1"), speaker(app, "call-2"), page(console(app)) as shown:
        await expect(shown.locator("#link")).to_have_text("live")
        await expect(shown.locator("#rows tr")).to_have_count(2)
        assert set(await names(shown)) == {"call-1", "call-2"}
        await expect(shown.locator("#rows")).to_contain_text("streaming")
        await expect(shown.locator("#backends")).to_contain_text("riva-a")
        await expect(shown.locator("#backends .pill")).to_have_text("ready")
        await expect(shown.locator("#backends")).to_contain_text("2 of 50 streams")
        for part in ("voxtree", "front door", "questions", "session:call-1"):
            await expect(shown.locator("#tree")).to_contain_text(part)
        await expect(shown.locator("#well")).to_be_visible()
        await expect(shown.locator("button:visible")).to_have_count(0)


async def test_new_sessions_come_and_ended_ones_stay_to_be_looked_at() -> None:
    async with riva_and_server() as app, page(console(app)) as shown:
        await expect(shown.locator("#none")).to_have_text("No sessions yet.")
        async with speaker(app, "call-1") as session:
            await expect(shown.locator("#rows .pill")).to_have_text("streaming")
            session.stop()
            async for _ in session:
                pass
        await expect(shown.locator("#rows .pill")).to_have_text("completed")


async def test_a_timeline_tells_of_a_failover_and_what_a_backend_says_is_nothing_but_text() -> None:
    plan = Plan(faults=(Status(at=At(position=1.0), code="UNAVAILABLE", text=CANARY),))
    async with ScriptedRiva(plan) as failing, ScriptedRiva() as other:
        spare = msgspec.structs.replace(backend("riva-b", other), tier=Tier.FALLBACK)
        async with server(backend("riva-a", failing), spare) as app, speaker(app, "call-1"):
            await until(app, lambda seen: seen["sessions"].get("call-1", {}).get("finals"))
            async with page(f"{console(app)}#session/call-1") as shown:
                tale = shown.locator("#detail .tale")
                await expect(tale).to_contain_text("recovered")
                assert [what for what in await tale.locator(".what").all_text_contents() if what in _NEWS] == _NEWS
                await expect(tale).to_contain_text(CANARY)
                await tale.locator("a", has_text="RIVA_005").first.click()
                await expect(shown.locator("#errors details[open]")).to_contain_text(CANARY)
                await expect(shown.locator("#errors details[open]")).to_contain_text("What to do: ")
                assert await shown.locator("img").count() == 1  # the page's own


_NEWS = ["words", "recovered", "moved", "crashed", "opened"]


async def test_a_drain_is_confirmed_before_it_is_done_and_seen_afterwards() -> None:
    async with riva_and_server(actions=True) as app, page(console(app)) as shown:
        await shown.get_by_role("button", name="Drain").click()
        await expect(shown.get_by_role("dialog")).to_contain_text("Drain riva-a?")
        await shown.get_by_role("button", name="Cancel").click()
        await expect(shown.get_by_role("dialog")).to_be_hidden()
        assert not app.pool.snapshot().backends[0].drained
        await shown.get_by_role("button", name="Drain").click()
        await shown.get_by_role("dialog").get_by_role("button", name="Drain").click()
        await expect(shown.locator("#backends .pill")).to_have_text("drained")
        assert app.pool.snapshot().backends[0].drained
        await expect(shown.get_by_role("button", name="Use again")).to_be_visible()


async def test_a_session_is_closed_and_a_part_restarted_from_its_details() -> None:
    async with (
        riva_and_server(actions=True) as app,
        speaker(app, "call-1") as session,
        page(f"{console(app)}#session/call-1") as shown,
    ):
        detail = shown.locator("#detail")
        await detail.get_by_role("button", name="Restart voxtree/sessions/session:call-1/recogniser").click()
        await shown.get_by_role("dialog").get_by_role("button", name="Restart").click()
        await expect(detail).to_contain_text("life 2")
        await detail.get_by_role("button", name="Close session").click()
        await shown.get_by_role("dialog").get_by_role("button", name="Close", exact=True).click()
        async for _ in session:
            pass
        await expect(detail.locator(".pill")).to_have_text("completed")


async def test_an_order_that_is_refused_is_said() -> None:
    async with (
        riva_and_server(actions=True) as app,
        speaker(app, "call-1") as session,
        page(f"{console(app)}#session/call-1", expects_errors=True) as shown,
    ):
        await shown.locator("#detail").get_by_role("button", name="Close session").click()
        session.stop()
        async for _ in session:
            pass
        await until(app, lambda seen: "until" in seen["sessions"]["call-1"])
        await shown.get_by_role("dialog").get_by_role("button", name="Close", exact=True).click()
        await expect(shown.get_by_role("dialog")).to_contain_text("there is no session call-1 here")


async def test_with_a_token_it_says_how_to_sign_in_and_a_login_link_does_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    async with ScriptedRiva() as riva:
        settings = Settings(backends=(backend("riva-a", riva),), admin=Admin(token_file=str(file)))
        async with serving(settings, private=True) as app:
            async with page(console(app), expects_errors=True) as shown:
                await expect(shown.locator("#banner")).to_contain_text("Not signed in")
            assert app.admin is not None
            async with page(app.admin.login_url()) as shown:
                await expect(shown.locator("#link")).to_have_text("live")
                assert shown.url == console(app)
            assert (await asked(app, "/debug/state.json")).status == 401


# ---- states of any size


async def test_a_thousand_sessions_are_listed_in_parts_found_and_filtered() -> None:
    async with stage(state(1000)) as shown, page(shown.console) as console:
        rows = console.locator("#rows tr")
        await expect(rows).to_have_count(100)
        await expect(console.locator("#f-sessions")).to_have_text("1,000")
        await expect(rows.first).to_contain_text("delayed")
        await expect(console.locator("#shown")).to_have_text("100 of 1,000 shown")
        await console.get_by_role("button", name="Show more").click()
        await expect(rows).to_have_count(200)
        await console.get_by_label("Find sessions by id or backend").fill("call-0042")
        await expect(rows).to_have_count(1)
        await console.get_by_label("Find sessions by id or backend").fill("")
        await console.get_by_label("Show", exact=True).select_option("alone")
        await expect(console.locator("#shown")).to_have_text("100 of 1,000")
        await console.get_by_label("Order by").select_option("id")
        assert (await names(console))[:2] == ["call-0000", "call-0010"]
        await expect(console.locator("#tree")).to_contain_text("… 988 more; find them in the list")


async def test_what_changes_is_seen_and_what_is_gone_is_gone() -> None:
    shown = state(3)
    async with stage(shown) as on, page(on.console) as console:
        await expect(console.locator("#rows tr")).to_have_count(3)
        sessions = {"call-0000": msgspec.structs.replace(session(0), state="delayed"), "call-0002": session(2)}
        on.board.publish(msgspec.structs.replace(shown, sessions=sessions, errors={}))
        await expect(console.locator("#rows tr")).to_have_count(2)
        await expect(console.locator("#rows tr").first).to_contain_text("delayed")
        await expect(console.locator("#well")).to_be_visible()


@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString", "..", "~.-_"])
async def test_a_session_may_be_called_as_it_likes(name: str) -> None:
    shown = state(1)
    async with stage(shown) as on, page(on.console) as console:
        await expect(console.locator("#rows tr")).to_have_count(1)
        on.board.publish(msgspec.structs.replace(shown, sessions={name: session(1)}))
        await expect(console.locator("#rows a")).to_have_text(name)
        await console.locator("#rows a").click()
        await expect(console.locator("#detail h2")).to_have_text(name)
        on.board.publish(
            msgspec.structs.replace(shown, sessions={name: msgspec.structs.replace(session(1), resumes=77)})
        )
        await expect(console.locator("#detail")).to_contain_text("77")
        assert await console.evaluate("({}).resumes") is None


async def test_every_row_has_an_address_of_its_own() -> None:
    async with stage(state(300)) as on:
        async with page(f"{on.console}#session/call-0250") as console:
            await expect(console.locator("#detail h2")).to_have_text("call-0250")
            await expect(console.locator("#detail .tale")).to_contain_text("begun, epoch 1")
        async with page(f"{on.console}#backend/riva-b") as console:
            await expect(console.locator(".backend.here")).to_contain_text("riva-b")
        for address in ("#error/RIVA_005", "#RIVA_005"):
            async with page(on.console + address) as console:
                await expect(console.locator("details.error.here[open]")).to_contain_text("Look at the backend's log.")
        async with page(f"{on.console}#session/%E0%A4%A") as console:
            await expect(console.locator("#link")).to_have_text("live")


async def test_it_is_used_by_the_keyboard_alone() -> None:
    async with stage(state(5)) as on, page(on.console) as console:
        await expect(console.locator("#rows tr")).to_have_count(5)
        await console.keyboard.press("/")
        await console.keyboard.type("call-000")
        await expect(console.locator("#search")).to_be_focused()
        await console.keyboard.press("ArrowDown")
        await console.keyboard.press("ArrowDown")
        second = console.locator("#rows a").nth(1)
        await expect(second).to_be_focused()
        name = await second.text_content()
        await console.keyboard.press("Enter")
        await expect(console.locator("#detail h2")).to_have_text(name or "")
        await expect(console.locator("#detail")).to_be_focused()
        await console.keyboard.press("Escape")
        await expect(console.locator("#detail")).to_be_hidden()
        await expect(second).to_be_focused()


async def test_the_focus_stays_where_it_is_when_rows_change_places() -> None:
    shown = state(5)
    async with stage(shown) as on, page(on.console) as console:
        link = console.get_by_role("link", name="call-0003", exact=True)
        await link.focus()
        delayed = msgspec.structs.replace(session(3), state="delayed")
        on.board.publish(msgspec.structs.replace(shown, sessions={**shown.sessions, "call-0003": delayed}))
        await expect(console.locator("#rows a").first).to_have_text("call-0003")
        await expect(link).to_be_focused()


async def test_everything_that_can_be_used_has_a_name_for_those_who_do_not_see_it() -> None:
    nameless = """[...document.querySelectorAll("button, input, select, a, summary, [role=meter], svg")]
        .filter((node) => node.checkVisibility() && !(node.textContent.trim() || node.getAttribute("aria-label")))
        .map((node) => node.outerHTML)"""
    about = msgspec.structs.replace(state().about, actions=True)
    async with stage(state(20, about=about)) as on, page(f"{on.console}#session/call-0001") as console:
        await expect(console.locator("#rows tr")).to_have_count(20)
        assert await console.evaluate(nameless) == []
        assert await console.locator("h2").count() > 5


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1300, 1440])
async def test_it_fits_any_width(width: int) -> None:
    outside = """
        width => [...document.querySelectorAll(".card:not([hidden]), table, tbody td:last-child")].filter(each => {
            const [right, most] = [each, each.closest(".card")].map(one => one.getBoundingClientRect().right);
            return right > Math.min(width, most);
        }).map(each => each.outerHTML.slice(0, 80))
    """
    shown = state(200)
    sessions = {f"{number:08x}-26f2-451c-9ae4-cfae16e319a1": row for number, row in enumerate(shown.sessions.values())}
    shown = msgspec.structs.replace(shown, sessions=sessions)  # named as a server names them
    view = {"width": width, "height": 800}
    async with stage(shown) as on, page(f"{on.console}#session/{next(iter(sessions))}", viewport=view) as console:
        await expect(console.locator("#rows tr")).to_have_count(100)
        assert await console.evaluate("document.documentElement.scrollWidth") <= width
        assert await console.evaluate(outside, width) == []


async def test_it_is_light_by_day_and_dark_by_night() -> None:
    grounds = []
    async with stage(state()) as on:
        for scheme in ("light", "dark"):
            async with page(on.console, color_scheme=scheme) as console:
                grounds.append(await console.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = (sum(int(part) for part in ground[4:-1].split(",")) for ground in grounds)
    assert light > 600 > 200 > dark


# ---- when the server is not well


async def test_a_loop_that_stands_still_is_said_plainly() -> None:
    async with stage(state(3)) as on, page(on.console) as console:
        await expect(console.locator("#link")).to_have_text("live")
        on.now += 30.0
        await expect(console.locator("#banner")).to_contain_text("The event loop stands still since 3")
        await expect(console.locator("#rows tr")).to_have_count(3)
        on.board.beat({}, started=True)
        on.board.publish(state(3, waiting=1))
        await expect(console.locator("#link")).to_have_text("live")


async def test_a_server_that_is_gone_is_said_plainly() -> None:
    on = Stage(state(3), Access(None))
    async with page(on.console, expects_errors=True) as console:
        await expect(console.locator("#link")).to_have_text("live")
        await on.stop()
        await expect(console.locator("#link")).to_have_text("connection lost", timeout=30_000)
        await expect(console.locator("#banner")).to_contain_text("The connection to the server is lost")


async def test_what_is_not_well_is_named() -> None:
    checks = {"backends": Check(well=False, text="0 of 2 work", vital=False)}
    async with stage(state(3, checks=checks)) as on, page(on.console) as console:
        await expect(console.locator("#link")).to_have_text("degraded")
        await expect(console.locator("#banner")).to_have_text("backends: 0 of 2 work")
        on.board.publish(state(3, checks={**checks, "journal": Check(well=False, text="cannot be written: JRNL_001")}))
        await expect(console.locator("#link")).to_have_text("not ready")
