"""The page in a real browser: it opens offline, plays, is steered, and says what the results say."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from peerwatt.sim.scenario import Scenario

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page is not tested in a browser"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of a page that is served in a process of its own."""
    command = [
        sys.executable,
        "-c",
        "from peerwatt.experiments.cli import main; main()",
        "view",
        "lv-village",
        "--port",
        "0",
        "--set",
        "time.periods=48",
    ]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as server:
        try:
            said = ""
            for line in server.stdout or ():
                said += line
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    yield found[0]
                    break
            else:
                pytest.fail(said)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("chromium")),
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu"],
            viewport={"width": 1280, "height": 900},
            accept_downloads=True,
        )
        yield context
        context.close()


class Tab:
    """A tab with the page, and what went wrong in it."""

    def __init__(self, browser, address: str) -> None:
        self.page = browser.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self._asked)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "response", lambda got: self.errors.append(f"{got.status} {got.url}") if got.status >= 400 else None
        )
        self.page.goto(address)
        self.page.get_by_text("Conceptual model").wait_for(timeout=15_000)

    def _asked(self, request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None) and not request.url.startswith(("data:", "blob:")):
            self.outside.append(request.url)

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            done = self.done()
            self.page.get_by_role("button", name="Step").click()
            self.drawn(done + 1)

    def drawn(self, period: int, timeout: float = 30_000) -> None:
        """Wait until the map is that of a period; the clock is ahead of it by a moment."""
        self.page.locator(f"[data-name=map][data-frame='{period}']").wait_for(timeout=timeout)

    def done(self) -> int:
        return int(re.search(r"(\d+) of", self.page.locator(".pw-clock small").inner_text())[1])

    def choose(self, label: str, item: str) -> None:
        self.page.locator(".v-select", has_text=label).click()
        self.page.locator(".menuable__content__active .v-list-item", has_text=item).click()

    def tile(self, title: str) -> str:
        return self.page.locator(".pw-tile", has_text=title).locator("dd").inner_text()

    def close(self) -> None:
        self.page.close()
        assert self.outside == []
        assert self.errors == []


@pytest.fixture
def tab(browser, address):
    opened = Tab(browser, address)
    yield opened
    opened.close()


def batch(folder: Path, periods: int, **changes) -> Results:
    scenario = Scenario.load("lv-village", {"time.periods": 48, **changes})
    with Simulation(scenario, folder / "run") as simulation:
        for _ in range(periods):
            simulation.step()
    return Results(folder / "run")


def test_it_plays_and_says_what_the_results_say(tab, tmp_path):
    tab.choose("Speed", "10 periods/s")
    tab.page.get_by_role("button", name="Play").click()
    tab.drawn(48, timeout=60_000)
    results = batch(tmp_path, 48)
    traded, saved = results.kpi["p2p_volume_mwh"] * 1e3, results.kpi["saving_peers_eur"]
    assert float(tab.tile("Traded so far").split()[0]) == pytest.approx(traded, rel=0.006)
    assert float(tab.tile("Saved by peers").split()[0]) == pytest.approx(saved, abs=0.006)
    last = results.line[(results.line.period == 47) & (results.line.stage == "delivery")]
    tip = tab.page.locator("[data-key='line:3']").get_attribute("data-tip")
    assert f"loading {last.loading_percent.iloc[3]:.1f} %" in tip


def test_another_scheme_starts_again_and_gives_its_own_numbers(tab, tmp_path):
    tab.step(2)
    tab.choose("Conceptual model", "CM4")
    tab.drawn(0)
    tab.choose("Scheme of the DSO", "incentive matrix")
    tab.page.get_by_text("coordination.scheme=incentive_matrix").wait_for()
    for _ in range(3):
        tab.step(10)
    results = batch(tmp_path, 30, **{"coordination.preset": "cm4", "coordination.scheme": "incentive_matrix"})
    assert float(tab.tile("Traded so far").split()[0]) == pytest.approx(1e3 * results.kpi["p2p_volume_mwh"], rel=0.006)


def test_a_line_is_cut_and_the_scenario_that_is_taken_along_has_it(tab):
    tab.step(3)
    tab.page.locator("[data-key='line:5']").focus()
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("button", name="Cut this line").click()
    tab.page.get_by_text("is cut from 00:45").wait_for()
    tab.step()
    tab.page.locator("[data-key='line:5'][data-tip*='out of service']").wait_for()
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="Scenario (YAML)").click()
    document = yaml.safe_load(Path(download.value.path()).read_text(encoding="utf-8"))
    scenario = Scenario.model_validate(document)
    assert [event.kind for event in scenario.events] == ["line_outage"]
    with Simulation(scenario) as simulation:
        for _ in range(4):
            simulation.step()
        assert not simulation.context.network.lines.in_service[5]


def test_pictures_are_saved_as_svg_and_png(tab):
    tab.step()
    for kind, begin in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with tab.page.expect_download() as download:
            tab.page.get_by_role("button", name=f"Save map as {kind}").click()
        assert download.value.suggested_filename == f"map.{kind.lower()}"
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(begin)
        assert len(content) > 5_000


def test_wrong_settings_are_said_and_the_page_stays_alive(tab):
    tab.step()
    field = tab.page.get_by_label("First day")
    field.fill("1999-01-01")
    tab.page.get_by_text("That did not work.").wait_for()
    tab.step()
    field.fill("2016-01-12")
    tab.page.get_by_text("That did not work.").wait_for(state="detached")
    tab.step()


def test_every_tab_of_the_panels_opens(tab):
    tab.choose("Conceptual model", "CM3 v2")
    tab.drawn(0)
    tab.step(2)
    for name, seen in (("Trades", "Pairs by"), ("Messages", "CallForBids"), ("Money", "received less paid")):
        tab.page.get_by_role("tab", name=name).click()
        tab.page.get_by_text(seen).first.wait_for()


def test_two_tabs_are_independent(browser, address):
    first, second = Tab(browser, address), Tab(browser, address)
    first.step(3)
    second.step(1)
    assert (first.done(), second.done()) == (3, 1)
    second.page.get_by_role("button", name="Reset:").click()
    second.drawn(0)
    assert first.done() == 3
    first.close()
    second.close()


def test_it_can_be_used_by_keyboard(tab):
    button = tab.page.get_by_role("button", name="Step")
    button.focus()
    tab.page.keyboard.press("Enter")
    tab.drawn(1)
    tab.page.locator("[data-key='bus:4']").focus()
    assert "voltage" in tab.page.locator(".pw-tip:visible").inner_text()
