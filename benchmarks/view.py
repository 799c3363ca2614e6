"""The page in a real browser: from a press on Step to the picture on the screen, and memory in the long run.

Times are taken in the page, by its own clock: from the click, over the run of the period in the server and back, to
the frame after the map has changed. Memory is that of the server's process and of the page's heap after a garbage
collection, after a number of periods and after resets with other seeds.

    .venv/bin/python benchmarks/view.py [--periods 1000] [--resets 20]
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
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

STEPS = 60
WARM_UP = 3
GRIDS = {"lv-village": 0.5, "200 buses, 150 peers": 1.0}
"""What is measured, and the seconds that a period should not take longer than."""

STEP = """() => new Promise(done => {
  const map = document.querySelector("[data-name=map]"), button = document.querySelector("button[aria-label^='Step']");
  const begin = performance.now();
  new MutationObserver((_, observer) => {
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => done((performance.now() - begin) / 1000)));
  }).observe(map, { attributes: true, attributeFilter: ["data-frame"] });
  button.click();
})"""


def chromium() -> str | None:
    """Path of a Chromium: the machine's own, else playwright's; None without."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        own = play.chromium.executable_path
    return own if Path(own).is_file() else None


def wide_case() -> Any:
    """A low-voltage grid of 200 buses in ten feeders with 150 households, every third of them with PV, for a day."""
    import numpy as np
    import pandapower as pp
    import pandas as pd

    from peerwatt.grid.cases import case_from_net

    net, rng = pp.create_empty_network(), np.random.default_rng(1)
    high = pp.create_bus(net, 20.0, name="grid")
    low = [pp.create_bus(net, 0.4, name=f"Bus {i}") for i in range(199)]
    pp.create_ext_grid(net, high)
    pp.create_transformer(net, high, low[0], "0.63 MVA 20/0.4 kV")
    for i in range(1, 199):
        pp.create_line(net, low[max(i - 10, 0)], low[i], 0.03, "NAYY 4x150 SE", name=f"Line {i}")
    day = pd.date_range("2030-06-01", periods=97, freq="15min")
    hour = np.arange(97) / 4.0
    table: dict[str, Any] = {"time": day}
    for i in np.sort(rng.choice(np.arange(1, 199), 150, replace=False)).tolist():
        pp.create_load(net, low[i], p_mw=0.004, q_mvar=0.001, name=f"load {i}")
        table[f"load.load {i}.p_mw"] = 0.0005 + 0.003 * rng.random(97)
        if i % 3 == 0:
            pp.create_sgen(net, low[i], p_mw=0.008, name=f"pv {i}", type="PV")
            table[f"sgen.pv {i}.p_mw"] = 0.008 * np.clip(np.sin((hour - 6.0) / 12.0 * np.pi), 0.0, 1.0)
    return case_from_net(net, profiles=pd.DataFrame(table), name="200 buses")


def serve_grid(name: str, periods: int) -> None:
    """Serve a page: what this script does in a process of its own."""
    from peerwatt.experiments.view import serve
    from peerwatt.sim.scenario import Scenario

    if name == "lv-village":
        serve(Scenario.load(name, {"time.start": "2016-06-01", "time.periods": periods}), port=0)
    else:
        changes = {"name": "wide", "time.start": "2030-06-01", "time.periods": 96}
        serve(Scenario().replace(changes), port=0, case=wide_case())


@contextmanager
def served(name: str, periods: int) -> Iterator[tuple[str, int]]:
    """Address of a page, and the process that serves it."""
    command = [sys.executable, __file__, "--serve", name, "--periods", str(periods)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            found = next(
                match[0] for line in server.stdout or () if (match := re.search(r"http://127\.0\.0\.1:\d+", line))
            )
            yield found, server.pid
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def opened(browser: Any, address: str) -> Any:
    """A tab with the page, its map drawn."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    page.locator("[data-name=map] svg").wait_for(timeout=60_000)
    page.wait_for_timeout(1_000)
    return page


def stepped(page: Any, steps: int) -> list[float]:
    """Seconds from the click to the picture, for each of some steps."""
    return [float(page.evaluate(STEP)) for _ in range(steps)]


def memory_mb(page: Any, pid: int) -> tuple[float, float, int]:
    """Memory of the server and of the page, MB, and the number of nodes in the page."""
    tools = page.context.new_cdp_session(page)
    tools.send("HeapProfiler.collectGarbage")
    heap = tools.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    nodes = int(tools.send("Memory.getDOMCounters")["nodes"])
    tools.detach()
    resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return (int(resident[1]) / 1e3 if resident else float("nan")), heap, nodes


def reset(page: Any, seed: int) -> None:
    """Start again with another seed, and simulate ten periods."""
    field = page.get_by_label("Seed")
    field.fill(str(seed))
    field.press("Enter")
    page.locator("[data-name=map][data-frame='0']").wait_for(timeout=60_000)
    stepped(page, 10)


def speed(browser: Any) -> Table:
    """Medians and maxima of a step, by grid."""
    table = Table(title=f"Step to picture, {STEPS} periods, 1280 px, s", title_justify="left")
    for column in ("grid", "median", "maximum", "shall be below"):
        table.add_column(column, justify="left" if column == "grid" else "right")
    for name, bound in GRIDS.items():
        with served(name, 96) as (address, _):
            page = opened(browser, address)
            stepped(page, WARM_UP)
            seconds = stepped(page, STEPS)
            page.close()
        table.add_row(name, f"{median(seconds):.3f}", f"{max(seconds):.3f}", f"{bound:g}")
    return table


def memory(browser: Any, periods: int, resets: int) -> Table:
    """What memory does over periods and resets of one tab."""
    table = Table(title="Memory of lv-village in one tab, MB", title_justify="left")
    for column in ("after", "server", "page", "nodes"):
        table.add_column(column, justify="left" if column == "after" else "right")

    def row(words: str) -> None:
        server, heap, nodes = memory_mb(page, pid)
        table.add_row(words, f"{server:.0f}", f"{heap:.1f}", f"{nodes:,}")

    with served("lv-village", periods + 20) as (address, pid):
        page = opened(browser, address)
        stepped(page, 10)
        row("10 periods")
        for part in range(4):
            stepped(page, (periods - 10) // 4)
            row(f"{10 + (part + 1) * ((periods - 10) // 4):,} periods")
        for seed in range(2, 2 + resets):
            reset(page, seed)
            if seed in (2, 1 + resets):
                row(f"{seed - 1} resets, each with 10 periods")
        page.close()
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--periods", type=int, default=1_000, help="periods of the long run")
    parser.add_argument("--resets", type=int, default=20)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_grid(options.serve, options.periods)
        return
    console, path = Console(), chromium()
    if path is None:
        console.print("No Chromium on this machine: the page is not measured.")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        console.print(speed(browser))
        console.print(memory(browser, options.periods, options.resets))
        browser.close()


if __name__ == "__main__":
    main()
