"""Chromium as a person's browser, for tests of the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright

PICTURES = Path(__file__).resolve().parents[2] / "out" / "page"
"""Where screenshots go, to be looked at."""
DESK, PHONE = ViewportSize(width=1100, height=900), ViewportSize(width=390, height=844)
PATIENCE_S = 60
NAMES = ("chromium", "chromium-browser", "google-chrome")

expect.set_options(timeout=PATIENCE_S * 1000)


@contextmanager
def chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is on PATH: `make test-deps` installs it for root, else install it")
    # Its own sandbox needs rights that root in a container does not have.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody at the page. What the browser complains of, and whom it asks, is kept."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url, self.complaints, self.asked = url, list[str](), set[str]()
        self.context = browser.new_context(**({"viewport": DESK} | options))
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self._complain(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(urlsplit(request.url).netloc))
        self.page.goto(url)

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def ask(self, prompt: str, **fields: object) -> Locator:
        """Fill the form and submit it: the card of the new video."""
        form = {"Size": "", "Seconds": "", "Steps": "", "Seed": ""} | {
            name.title(): str(fields[name]) for name in fields
        }
        self.page.get_by_label("What should the video show?").fill(prompt)
        for label, value in form.items():
            self.page.get_by_label(label, exact=True).fill(value)
        with self.page.expect_response(lambda answer: answer.request.method == "POST") as answered:
            self.page.get_by_role("button", name="Make it").click()
        return self.card(answered.value.json()["id"])

    def card(self, video: str) -> Locator:
        return self.page.locator(f'article[data-id="{video}"]')

    def picture(self, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    def leave(self) -> None:
        self.context.close()


@contextmanager
def person(browser: Browser, url: str, **options: Any) -> Iterator[Person]:
    somebody = Person(browser, url, **options)
    try:
        yield somebody
    finally:
        somebody.leave()
