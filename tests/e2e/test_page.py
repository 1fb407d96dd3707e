"""The page, in a real browser on the real line: what a person sees and does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Locator, expect

from infra.local import ports
from runtime.settings import DEFAULT_KEY
from tests.e2e.browser import PHONE, chromium, person
from tests.e2e.conftest import Line
from tests.processes import Service, services
from tests.support import eventually

pytestmark = pytest.mark.broker

PROMPT = "a green triangle moving left on a black background"
LONG = 1000
"""Steps of a denoise that lasts until it is stopped."""
STEP = re.compile(r"step (\d+) of 1000")


@pytest.fixture(scope="module")
def gateway(whole: Line) -> Iterator[Service]:
    [port] = ports.choose([0])
    settings = whole.settings.model_copy(update={"gateway_port": port})
    with services(settings, gateway="gateway") as running:
        yield running["gateway"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def url(gateway: Service, line_of_all: Line) -> str:
    gateway.wait_ready()
    return f"http://127.0.0.1:{gateway.settings.gateway_port}/"


def cancelled(url: str, card: Locator) -> None:
    """Leave the denoise worker to others."""
    video = card.get_attribute("data-id")
    httpx.post(f"{url}v1/videos/{video}/cancel", headers={"authorization": f"Bearer {DEFAULT_KEY}"}).raise_for_status()


def step_of(card: Locator) -> int:
    found = STEP.search(card.locator(".state").inner_text())
    return int(found[1]) if found else 0


def test_a_word_that_the_model_does_not_know_is_named_at_its_card(browser: Browser, url: str) -> None:
    with person(browser, url) as somebody:
        card = somebody.ask("a maroon circle moving up on a white background", seed=7002, steps=1000)
        expect(card.locator(".warning")).to_contain_text('tiny does not know "maroon"')
        cancelled(url, card)


def test_a_prompt_becomes_a_film_that_plays_and_seeks(browser: Browser, url: str) -> None:
    with person(browser, url) as somebody:
        card = somebody.ask(PROMPT, seed=2**64 - 1)
        expect(card.locator(".stages .done")).to_have_count(4)
        film = card.locator("video")
        expect(film).to_be_visible()
        expect(card.locator(".state")).to_have_text(f"64x64, 2.1 s, seed {2**64 - 1}")
        film.evaluate("film => film.play()")
        eventually(lambda: film.evaluate("film => film.currentTime > 0.2 && film.videoWidth === 64"))
        film.evaluate("film => { film.pause(); film.currentTime = 1.5; }")
        eventually(lambda: film.evaluate("film => !film.seeking && film.currentTime === 1.5"))
        scrub = card.get_by_label("Scrub")
        scrub.fill("8")
        expect(card.locator(".tile")).to_be_visible()
        assert abs(film.evaluate("film => film.currentTime") - 1.03) < 0.05
        with somebody.page.expect_download() as download:
            card.get_by_role("link", name="Download").click()
        assert download.value.suggested_filename == "a-green-triangle-moving-left-on-a-black-background.mp4"
        somebody.picture("desk")
        assert somebody.complaints == []
        assert somebody.asked == {url.split("/")[2], ""}


def test_steps_and_previews_go_on_through_a_reload_until_a_cancel(browser: Browser, url: str) -> None:
    with person(browser, url) as somebody:
        video = somebody.ask(PROMPT, seed=7002, steps=LONG).get_attribute("data-id")
        card = somebody.card(video or "")
        before = eventually(lambda: step_of(card))
        expect(card.locator(".preview")).to_be_visible()
        eventually(lambda: card.locator(".preview").evaluate("image => image.complete && image.naturalWidth === 8"))
        expect(card.locator(".download")).to_be_hidden()
        somebody.picture("running")
        somebody.page.reload()
        eventually(lambda: step_of(card) > before)
        expect(card.locator(".stages .running")).to_have_text("denoise")
        card.get_by_role("button", name="Cancel").click()
        expect(card.locator(".state")).to_have_text("Cancelled.")
        expect(card.locator("progress")).to_be_hidden()
        assert somebody.complaints == []


@pytest.mark.long
def test_the_page_outlives_its_gateway(browser: Browser, url: str, gateway: Service) -> None:
    with person(browser, url) as somebody:
        card = somebody.ask(PROMPT, seed=7003, steps=LONG)
        before = eventually(lambda: step_of(card))
        gateway.kill()
        expect(somebody.page.locator("#connection")).to_contain_text("does not answer")
        somebody.picture("gateway-away")
        somebody.page.get_by_role("button", name="Make it").click()
        expect(somebody.page.get_by_role("alert")).to_contain_text("Check that it runs")
        gateway.start().wait_ready()
        expect(somebody.page.locator("#connection")).to_be_hidden()
        eventually(lambda: step_of(card) > before)
        card.get_by_role("button", name="Cancel").click()
        expect(card.locator(".state")).to_have_text("Cancelled.")


@pytest.mark.long
def test_more_videos_than_a_browser_opens_connections(browser: Browser, url: str) -> None:
    with person(browser, url) as somebody:
        made = [somebody.ask(PROMPT, seed=7010 + number, steps=LONG) for number in range(8)]
        ids = [card.get_attribute("data-id") for card in made]
        cards = [somebody.card(each or "") for each in ids]
        expect(cards[7].locator(".state")).to_contain_text("jobs before it")
        somebody.picture("many")
        for card in reversed(cards):
            card.get_by_role("button", name="Cancel").click()
            expect(card.locator(".state")).to_have_text("Cancelled.")


@pytest.mark.long
def test_mistakes_are_told_in_plain_words_where_they_are(browser: Browser, url: str) -> None:
    with person(browser, url) as somebody:
        page = somebody.page
        alert, prompt, size = page.get_by_role("alert"), page.locator("#prompt"), page.get_by_label("Size")
        page.get_by_role("button", name="Make it").click()
        expect(alert).to_have_text("Say what the video should show.")
        expect(prompt).to_be_focused()
        prompt.fill(PROMPT)
        size.fill("63x64")
        size.press("Enter")
        expect(alert).to_contain_text("nearest valid value: 64x64")
        expect(size).to_have_attribute("aria-invalid", "true")
        expect(size).to_be_focused()
        somebody.picture("mistake")
        page.get_by_label("API key").fill("wrong")
        page.get_by_label("API key").press("Tab")
        expect(alert).to_contain_text("This API key is unknown or was revoked")


@pytest.mark.long
def test_a_keyboard_is_enough_and_everything_has_a_name(browser: Browser, url: str) -> None:
    with person(browser, url, color_scheme="dark", viewport=PHONE, device_scale_factor=2) as somebody:
        page = somebody.page
        page.locator("#prompt").focus()
        page.keyboard.type(PROMPT)
        with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
            page.keyboard.press("Control+Enter")
        card = somebody.card(answered.value.json()["id"])
        expect(card.locator("video")).to_be_visible()
        card.get_by_label("Scrub").press("ArrowRight")
        assert card.locator("video").evaluate("film => film.currentTime") > 0
        nameless = page.locator("button, input, select, textarea, a, video, progress").evaluate_all(
            "all => all.filter(each => each.checkVisibility())"
            ".filter(each => !each.labels?.length && !each.ariaLabel && !each.innerText).map(each => each.outerHTML)"
        )
        assert nameless == []
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wide, "it scrolls sideways"
        somebody.picture("phone-dark")
        page.get_by_text("The same from a program").click()
        somebody.picture("phone-program-dark")
        card.get_by_role("button", name="Delete").click()
        expect(card).to_have_count(0)


def test_what_is_shown_as_a_program_makes_the_same_video(browser: Browser, url: str, line_of_all: Line) -> None:
    with person(browser, url) as somebody:
        page = somebody.page
        page.locator("#prompt").fill('it\'s "quoted" \\ $HOME')
        page.get_by_label("Seed").fill("7004")
        page.get_by_text("The same from a program").click()
        curl, python = page.locator("#curl").inner_text(), page.locator("#python").inner_text()
    assert '"seed":7004' in curl
    compile(python, "shown", "exec")
    assert 'extra_body={"seed":7004}' in python
