"""Takes the pictures of the page that README.md and docs/view.md show, in a real browser.

    .venv/bin/python docs/generate_view_images.py [--folder docs/images] [--all]

The pictures of the documents, or with --all every panel at 1280 and 1920 px, light and dark, to look at.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).with_name("images")

HOURS = {"time.period_s": 3600, "time.periods": 24}
CONGESTED = {**HOURS, "grid.max_loading_percent": 40, "coordination.preset": "cm4"}
NOON = 13
TABS = ("Market", "Trades", "Messages", "Money")


@contextmanager
def served(source: str, changes: dict[str, Any]) -> Iterator[str]:
    """Address of the page of a scenario, in a process of its own."""
    code = "from peerwatt.experiments.cli import main; main()"
    command = [sys.executable, "-c", code, "view", source, "--port", "0"]
    command += [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            yield next(
                match[0] for line in server.stdout or () if (match := re.search(r"http://127\.0\.0\.1:\d+", line))
            )
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def opened(browser: Any, address: str, width: int, theme: str) -> Any:
    """The page in a window of its own."""
    page = browser.new_page(viewport={"width": width, "height": 900 if width < 1500 else 1080}, color_scheme=theme)
    page.goto(address)
    page.locator("[data-name=map] svg").wait_for(timeout=60_000)
    page.wait_for_timeout(1_000)
    return page


def choose(page: Any, label: str, item: str) -> None:
    """Choose an item of a drop-down list."""
    page.locator(".v-select", has_text=label).first.click()
    page.locator(".menuable__content__active .v-list-item", has_text=item).first.click()
    page.wait_for_timeout(300)


def step(page: Any, periods: int) -> None:
    """Simulate periods."""
    done = int(page.locator("[data-name=map]").get_attribute("data-frame").partition("+")[0])
    for period in range(done + 1, done + periods + 1):
        page.get_by_role("button", name="Step:").click()
        page.locator(f"[data-name=map][data-frame^='{period}']").wait_for(timeout=60_000)


def tab(page: Any, name: str) -> None:
    """Show one of the panels behind tabs."""
    page.get_by_role("tab", name=name).click()
    page.wait_for_timeout(900)


def save(page: Any, path: Path, *, whole: bool = False) -> None:
    """Save what is seen."""
    page.mouse.move(2, 2)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(900)
    page.screenshot(path=path, full_page=whole)


def shrink(folder: Path) -> None:
    """Write the pictures with 256 colours, a third of their size."""
    from PIL import Image

    for path in folder.glob("view-*.png"):
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE).save(
                path, optimize=True
            )


def documents(browser: Any, folder: Path) -> None:
    """The pictures of the documents."""
    with served("lv-village", CONGESTED) as address:
        page = opened(browser, address, 1920, "light")
        step(page, NOON)
        page.get_by_role("button", name="Pin this run").click()
        page.get_by_label("after a change go on to this time").check(force=True)
        choose(page, "Conceptual model", "CM2")
        page.get_by_text("coordination.preset=cm2").wait_for(timeout=120_000)
        page.wait_for_timeout(4_000)
        save(page, folder / "view-page.png")
        page.close()
        page = opened(browser, address, 1920, "dark")
        step(page, NOON - 1)
        page.get_by_label("trades as arcs").check(force=True)
        choose(page, "Step by", "stage")
        for _ in range(3):
            page.get_by_role("button", name="Step:").click()
            page.wait_for_timeout(1_500)
        tab(page, "Messages")
        save(page, folder / "view-messages.png")
        page.close()
    with served("lv-village", {**HOURS, "market.mechanism": "consensus_innovation"}) as address:
        page = opened(browser, address, 1280, "light")
        step(page, NOON)
        page.wait_for_timeout(1_500)
        page.locator("section.pw-card", has=page.get_by_role("tab", name="Market")).screenshot(
            path=folder / "view-negotiation.png"
        )
        page.close()
    shrink(folder)


def everything(browser: Any, folder: Path) -> None:
    """Every panel in both widths and both themes."""
    with served("lv-village", CONGESTED) as address:
        for width in (1280, 1920):
            for theme in ("light", "dark"):
                page = opened(browser, address, width, theme)
                step(page, NOON)
                page.get_by_label("trades as arcs").check(force=True)
                page.locator("[data-key='line:5']").focus()
                page.keyboard.press("Enter")
                for name in TABS:
                    tab(page, name)
                    save(page, folder / f"{name.lower()}-{width}-{theme}.png", whole=True)
                page.close()


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=IMAGES)
    parser.add_argument("--all", action="store_true", help="every panel, to look at")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next((found for name in names if (found := shutil.which(name))), None)
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        (everything if options.all else documents)(browser, options.folder)
        browser.close()


if __name__ == "__main__":
    main()
