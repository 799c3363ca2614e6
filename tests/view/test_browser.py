"""The page in a real browser: it opens offline, plays, is steered, and says what the results say."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from peerwatt.sim.scenario import Scenario

REQUIRED = os.environ.get("PEERWATT_BROWSER") == "required"
"""Whether a test without a browser fails, as in continuous integration, instead of being skipped."""

DAY = {"time.period_s": 3600, "time.periods": 24}


def _chromium() -> str | None:
    """Path of a Chromium: the machine's own, else playwright's; None without."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        own = play.chromium.executable_path
    return own if Path(own).is_file() else None


CHROMIUM = _chromium()

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED, reason="no Chromium on this machine: the page is not tested in a browser"
)


@contextmanager
def served(code: str, *arguments: str) -> Iterator[str]:
    """Address of a page that is served in a process of its own.

    Args:
        code: what the process runs.
        *arguments: its command line.
    """
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", code, *arguments]
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
def address() -> Iterator[str]:
    """Address of a page with a day of 24 hours."""
    changes = [word for key, value in DAY.items() for word in ("--set", f"{key}={value}")]
    command = "from peerwatt.experiments.cli import main; main()"
    with served(command, "view", "lv-village", "--port", "0", *changes) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.fail("PEERWATT_BROWSER=required, and there is no Chromium")
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
        self.page.get_by_text("Conceptual model").wait_for(timeout=60_000)

    def _asked(self, request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None) and not request.url.startswith(("data:", "blob:")):
            self.outside.append(request.url)

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            done = self.done()
            self.page.get_by_role("button", name="Step:").click()
            self.drawn(done + 1)

    def drawn(self, period: int | str, timeout: float = 30_000) -> None:
        """Wait until the map is that of a number of periods; the clock is ahead of it by a moment."""
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
    scenario = Scenario.load("lv-village", {**DAY, **changes})
    with Simulation(scenario, folder / "run") as simulation:
        for _ in range(periods):
            simulation.step()
    return Results(folder / "run")


def test_a_day_is_played_steered_cut_and_taken_along(tab, tmp_path):
    page = tab.page
    tab.choose("Speed", "10 steps/s")
    page.get_by_role("button", name="Play").click()
    tab.drawn(24, timeout=60_000)
    results = batch(tmp_path / "day", 24)
    traded, saved = results.kpi["p2p_volume_mwh"] * 1e3, results.kpi["saving_peers_eur"]
    assert float(tab.tile("Traded so far").split()[0]) == pytest.approx(traded, rel=0.006)
    assert float(tab.tile("Saved by peers").split()[0]) == pytest.approx(saved, abs=0.006)
    last = results.line[(results.line.period == 23) & (results.line.stage == "delivery")]
    tip = page.locator("[data-key='line:3']").get_attribute("data-tip")
    assert f"loading {last.loading_percent.iloc[3]:.1f} %" in tip

    tab.choose("Conceptual model", "CM4")
    tab.drawn(0)
    tab.choose("Scheme of the DSO", "incentive matrix")
    page.get_by_text("coordination.scheme=incentive_matrix").wait_for()
    tab.step(11)
    changes = {"coordination.preset": "cm4", "coordination.scheme": "incentive_matrix"}
    results = batch(tmp_path / "scheme", 11, **changes)
    assert float(tab.tile("Traded so far").split()[0]) == pytest.approx(1e3 * results.kpi["p2p_volume_mwh"], rel=0.006)

    page.locator("[data-key='line:5']").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cut this line").click()
    page.get_by_text("is cut from 11:00").wait_for()
    tab.step()
    page.locator("[data-key='line:5'][data-tip*='out of service']").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Scenario (YAML)").click()
    scenario = Scenario.model_validate(yaml.safe_load(Path(download.value.path()).read_text(encoding="utf-8")))
    assert [event.kind for event in scenario.events] == ["line_outage"]
    assert scenario.design().scheme == "incentive_matrix"
    with Simulation(scenario, tmp_path / "cut") as simulation:
        for _ in range(12):
            simulation.step()
        assert not simulation.context.network.lines.in_service[5]
    results = Results(tmp_path / "cut")
    assert float(tab.tile("Traded so far").split()[0]) == pytest.approx(1e3 * results.kpi["p2p_volume_mwh"], rel=0.006)


@pytest.mark.slow
def test_a_period_is_told_message_by_message(tab):
    tab.step(11)
    tab.choose("Step by", "message")
    step = tab.page.get_by_role("button", name="Step:")
    told = tab.page.locator("[data-name=messages]")
    for count in (1, 2, 3):
        step.click()
        tab.drawn(f"12+{count}")
        tab.page.locator(f"[data-name=messages][data-frame='12+{count}']").wait_for()
        everything = told.locator("g[data-tip]").count()
        assert told.locator("g.pw-later[data-tip]").count() == everything - count
    assert re.search(r"11:\d\d:\d\d", tab.page.locator(".pw-clock").inner_text())
    tab.choose("Step by", "stage")
    step.click()
    tab.page.locator(".v-select", has_text="Stage of the period").get_by_text("after trading").wait_for()


@pytest.mark.slow
def test_messages_are_lost_for_a_while(tab):
    tab.step(11)
    tab.page.get_by_role("button", name="Lose them").click()
    tab.page.get_by_text("50 % of messages lost from 11:00 to 12:00").wait_for()
    tab.step()
    tab.page.get_by_role("tab", name="Messages").click()
    tab.page.locator(".pw-lost-text").first.wait_for()
    tab.step()
    tab.page.locator("[data-name=messages][data-frame='13']").wait_for()
    assert tab.page.locator(".pw-lost-text").count() == 0


OWN = """
from peerwatt.experiments.view import Html, serve
from tests.scenarios import small_scenario
from tests.view.feeders import three_phase_case

def panel(session):
    return Html("mine", f"<p>My panel: {session.period} periods</p>")

serve(small_scenario(6), port=0, case=three_phase_case(6), panels=[("Mine", panel)])
"""

SHOWS_PHASE = """k => {
  const words = document.querySelector("[data-key='bus:5']").dataset.tip;
  const all = words.match(/A \\/ B \\/ C: ([\\d.]+) \\/ ([\\d.]+) \\/ ([\\d.]+) pu, VUF/);
  return all !== null && words.match(/voltage ([\\d.]+) pu/)[1] === all[k + 1];
}"""


@pytest.mark.slow
def test_a_script_has_its_own_grid_in_three_phases_and_its_own_panel(browser):
    with served(OWN) as found:
        tab = Tab(browser, found)
        tab.step(3)
        assert "VUF" not in tab.page.locator("[data-key='bus:5']").get_attribute("data-tip")
        for k, phase in enumerate(("phase A", "phase B", "phase C")):
            tab.choose("Phases", phase)
            tab.page.wait_for_function(SHOWS_PHASE, arg=k, timeout=60_000)
        tab.page.get_by_text("trading and limits are those of the balanced run").wait_for()
        tab.page.get_by_role("tab", name="Mine").click()
        tab.page.get_by_text("My panel: 3 periods").wait_for()
        tab.close()


@pytest.mark.slow
def test_pictures_are_saved_as_svg_and_png(tab):
    tab.step()
    for kind, begin in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with tab.page.expect_download() as download:
            tab.page.get_by_role("button", name=f"Save map as {kind}").click()
        assert download.value.suggested_filename == f"map.{kind.lower()}"
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(begin)
        assert len(content) > 5_000


@pytest.mark.slow
def test_wrong_settings_are_said_and_the_page_stays_alive(tab):
    tab.step()
    field = tab.page.get_by_label("First day")
    field.fill("1999-01-01")
    tab.page.get_by_text("That did not work.").wait_for()
    tab.step()
    field.fill("2016-01-12")
    tab.page.get_by_text("That did not work.").wait_for(state="detached")
    tab.step()


@pytest.mark.slow
def test_every_tab_of_the_panels_opens(tab):
    tab.choose("Conceptual model", "CM3 v2")
    tab.drawn(0)
    tab.step(2)
    for name, seen in (("Trades", "Pairs by"), ("Messages", "CallForBids"), ("Money", "received less paid")):
        tab.page.get_by_role("tab", name=name).click()
        tab.page.get_by_text(seen).first.wait_for()


@pytest.mark.slow
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


@pytest.mark.slow
def test_it_can_be_used_by_keyboard(tab):
    button = tab.page.get_by_role("button", name="Step:")
    button.focus()
    tab.page.keyboard.press("Enter")
    tab.drawn(1)
    tab.page.locator("[data-key='bus:4']").focus()
    assert "voltage" in tab.page.locator(".pw-tip:visible").inner_text()
