"""What `peerwatt view` does: reads the scenario, warns where others could reach the page, and serves it."""

from __future__ import annotations

import ipaddress

from rich.console import Console

from peerwatt.experiments.view.server import serve
from peerwatt.sim.reading import parse_overrides
from peerwatt.sim.scenario import Scenario

__all__ = ["is_local", "run_view"]


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run_view(source: str, overrides: list[str], host: str, port: int) -> None:
    """Serve the page until interrupted.

    Args:
        source: name or path of a scenario.
        overrides: `key=value` settings.
        host: address to listen on.
        port: port to listen on.

    Raises:
        InputError: the scenario is wrong, or the port is taken.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    given = parse_overrides(overrides)
    scenario = Scenario.load(source, given)
    if not is_local(host):
        console.print(
            f"Warning: on {host} everyone who can reach this machine can open the page, start runs and download "
            "results; it has no passwords."
        )
    console.print(f"Starting the page for {source} ...")
    serve(
        scenario,
        source,
        host=host,
        port=port,
        given=given,
        on_ready=lambda address: console.print(f"Open {address} in a browser; Ctrl-C ends it."),
    )
