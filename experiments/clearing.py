"""Clears a book from a file and says what came out: the work behind `peerwatt clear`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.bookfile import BookFile, read_book, result_document
from peerwatt.market.clearing import Clearing, Status
from peerwatt.market.conversion import as_steps
from peerwatt.market.feasibility import feasible
from peerwatt.market.mechanism import BookKind, make_mechanism

__all__ = ["EXIT_STATUS", "ClearedBook", "clear_file"]

EXIT_STATUS = {Status.OPTIMAL: 0, Status.EMPTY: 0, Status.INFEASIBLE: 3, Status.NOT_CONVERGED: 1}
"""Exit status of the command by how the clearing ended."""

_SHOWN = 30  # rows of a table on the terminal


@dataclass(frozen=True, slots=True)
class ClearedBook:
    """A book with its clearing.

    Attributes:
        file: what stood in the file.
        mechanism: name of the mechanism.
        clearing: the result.
    """

    file: BookFile
    mechanism: str
    clearing: Clearing

    def write(self, path: Path) -> None:
        """Write the result as JSON."""
        document = result_document(self.file, self.mechanism, self.clearing)
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(path)

    def summary(self) -> Group:
        """The outcome for a terminal: status, welfare, trades, peers; long tables are cut and say so."""
        clearing, parts = self.clearing, [Text()]
        welfare = clearing.social_welfare_eur
        parts[0].append(f"{self.mechanism}: {clearing.status}", style="bold" if clearing.status.solved else "bold red")
        if np.isfinite(welfare):
            parts[0].append(f", {len(clearing.trades)} trades, {clearing.trades.volume_mw:.6g} MW")
            parts[0].append(f", social welfare {welfare:.6g} EUR")
        if clearing.surplus_eur:
            parts[0].append(f", of which {clearing.surplus_eur:.6g} EUR are the market's")
        if clearing.message:
            parts.append(Text(clearing.message))
        tables = [self._trades(), self._peers()] if clearing.status is Status.OPTIMAL else []
        return Group(*parts, *tables)

    def _trades(self) -> Table:
        trades, ids = self.clearing.trades, [str(peer.id) for peer in self.file.peers]
        table = _table("trades", len(trades), 2, "seller", "buyer", "MW", "EUR/MWh")
        for k in range(min(len(trades), _SHOWN)):
            numbers = (f"{trades.p_mw[k]:.6g}", f"{trades.price_eur_per_mwh[k]:.6g}")
            table.add_row(ids[trades.seller[k]], ids[trades.buyer[k]], *numbers)
        return table

    def _peers(self) -> Table:
        clearing, peers = self.clearing, self.file.peers
        table = _table("peers", len(peers), 1, "peer", "MW", "from", "to", "welfare, EUR")
        for k, peer in enumerate(peers[:_SHOWN]):
            numbers = (clearing.p_mw[k], peer.p_min_mw, peer.p_max_mw, clearing.welfare_eur[k])
            table.add_row(str(peer.id), *(f"{number:.6g}" for number in numbers))
        return table


def clear_file(path: Path, mechanism: str, options: dict[str, Any], *, seed: int) -> ClearedBook:
    """Read a book and clear it.

    Args:
        path: file of a book, see `peerwatt.market.bookfile`.
        mechanism: registered name. An auction gets the quadratic costs in steps.
        options: the mechanism's options.
        seed: seed for ties.

    Raises:
        BookError: the file is no sound book, or one that this mechanism cannot take.
        ScenarioError: an unknown mechanism, or options that it does not have.
    """
    chosen = make_mechanism(mechanism, **options)
    book, file = read_book(path)
    rng = np.random.default_rng(seed)
    if chosen.book is BookKind.QUADRATIC:
        return ClearedBook(file, mechanism, feasible(book, chosen.clear(book, rng)))
    pairs = [key for key in ("partners", "trade_cost", "blocked") if getattr(file, key)]
    if pairs:
        raise ScenarioError(
            Fault(
                f"mechanism '{mechanism}'",
                f"knows no pairs, but {path} has {', '.join(pairs)}",
                "take 'bilateral', or a book without them",
            )
        )
    steps = as_steps(book)
    return ClearedBook(file, mechanism, feasible(steps, chosen.clear(steps, rng)))


def _table(title: str, rows: int, names: int, *columns: str) -> Table:
    """An empty table whose first columns hold names."""
    shown = f"{title}, the first {_SHOWN} of {rows:,} (all with --out)" if rows > _SHOWN else title
    table = Table(title=shown, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k < names else "right", overflow="fold")
    return table
