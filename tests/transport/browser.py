"""A real Chromium, without a window. Its errors are the test's. Where there is none, who imports this is skipped."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium is installed (apt-get install chromium)", allow_module_level=True)
_playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed: the `test` extra has it")
expect = _playwright.expect


@asynccontextmanager
async def page(
    url: str, *, expects_errors: bool = False, args: Sequence[str] = (), **context: Any
) -> AsyncGenerator[Page, None]:
    """A page at an address. Whatever the browser complains of, scripts or policies, fails the test.

    Args:
        expects_errors: it is to meet answers that are no success, which browsers report as errors; what scripts throw
            fails the test all the same.
        args: of the browser's command line.
        context: how the browser is: `color_scheme`, `viewport`, …
    """
    thrown: list[str] = []
    complaints: list[str] = []
    async with _playwright.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *args])
        try:
            opened = await (await browser.new_context(**context)).new_page()
            opened.on("pageerror", lambda error: thrown.append(str(error)))
            opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            await opened.goto(url)
            yield opened
        finally:
            await browser.close()
    assert thrown == []
    assert expects_errors or complaints == []
