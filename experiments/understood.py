"""The inventory of a run's inputs as tables, for `peerwatt validate` and the report."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from peerwatt.experiments.wording import energy, number
from peerwatt.sim.inventory import Inventory

__all__ = ["Listing", "as_rich", "listings"]

_SHOWN = 10  # rows of peers and elements; the rest is counted


@dataclass(frozen=True, slots=True)
class Listing:
    """A table.

    Attributes:
        head: column titles; the first is text.
        rows: cells.
        remark: what is below it, e.g. how many rows are left out.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remark: str = ""


def listings(inventory: Inventory) -> tuple[Listing, ...]:
    """Energy by kind and by peer, and peaks against ratings.

    Args:
        inventory: what was understood.
    """
    within = f"energy in {inventory.hours:g} h"
    kinds = [
        (f"{each.kind} ({each.table})", f"{each.count:,}", f"{each.constant:,}", energy(each.energy_mwh))
        for each in inventory.kinds
    ]
    peers = sorted(inventory.peers, key=lambda each: -(each.consumption_mwh + each.generation_mwh))
    rated = [each for each in inventory.elements if each.rating_mva > 0.0]
    unrated = len(inventory.elements) - len(rated)
    return (
        Listing(("kind", "elements", "constant", within), tuple(kinds), inventory.constant),
        Listing(
            ("peer", "consumption", "generation"),
            tuple((each.agent, energy(each.consumption_mwh), energy(each.generation_mwh)) for each in peers[:_SHOWN]),
            _left_out(len(peers), "peers, by energy"),
        ),
        Listing(
            ("element", "peak", "rating", "share"),
            tuple(
                (
                    f"{each.table} {each.name}",
                    f"{number(1e3 * each.peak_mw)} kW",
                    f"{number(1e3 * each.rating_mva)} kVA",
                    f"{100.0 * each.peak_mw / each.rating_mva:.0f} %",
                )
                for each in rated[:_SHOWN]
            ),
            "; ".join(
                text
                for text in (
                    _left_out(len(rated), "elements, by share"),
                    f"{unrated:,} without a rating" if unrated else "",
                )
                if text
            ),
        ),
    )


def _left_out(count: int, what: str) -> str:
    return f"the first {_SHOWN} of {count:,} {what}" if count > _SHOWN else ""


def as_rich(listing: Listing) -> Table:
    """A table for the terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0), caption=listing.remark or None, caption_justify="left")
    for k, title in enumerate(listing.head):
        table.add_column(title, justify="right" if k else "left", no_wrap=True)
    for row in listing.rows:
        table.add_row(*row)
    return table
