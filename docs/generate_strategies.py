"""Writes docs/studies/strategies.md from the results of `peerwatt sweep strategies`.

Run it with the directory of the sweep: `.venv/bin/python docs/generate_strategies.py results/strategies`. Without one
it writes the page without results.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from peerwatt.experiments.paired import half_width

TARGET = Path(__file__).parent / "studies" / "strategies.md"
TRUTHFUL = "truthful"

HEAD = """# Which trading strategy wins in which mechanism

<!-- Written by docs/generate_strategies.py from runs; do not edit. -->

Whether it pays to be strategic depends on the rules of the market and on what the others do. So each strategy
([own-strategy.md](../own-strategy.md)) is followed in two ways: by a fifth of the peers among truthful ones, and by
everybody.

```console
$ peerwatt sweep strategies --replicas 200
$ .venv/bin/python docs/generate_strategies.py results/strategies
```

The sweep ([strategies.yaml](../../experiments/sweeps/strategies.yaml)) is a day in June in `lv-village`, in 24 hourly
periods: population, weather, forecast errors and who adopts the strategy are drawn anew in each replica, and are the
same under all variants ([Monte Carlo](../monte-carlo.md)). Each number is a mean of differences replica by replica, to
the variant of the same mechanism in which everybody is truthful.

- **A fifth adopts it**: by what a peer that adopts it saves more, EUR per peer and day, than the same peer saves when
  it is truthful (`saving_per_peer_adopters_eur`).
- **All follow it**: by what all peers together save more, EUR per day, than when all are truthful (`saving_peers_eur`).
  What the mechanism or the supplier keeps is not in it.

Savings are money and the value of consumption, against the supplier's tariff. The welfare that a market reports is by
the bids, and says little where these are not truthful.

What to keep in mind: learners have one day, 24 clearings, to learn in. `linear` ramps over the day, as there is one
round per period. In an auction `prefers_local` is truthful, so its rows are a check there: they are zero.

"""

FEW = "## A fifth adopts it\n\nEUR per adopter and day.\n\n"
FINDINGS = """
## What the tables say

- **Pay-as-bid** rewards every strategy, for few and for all: a truthful peer is paid its own limit price and gains
  nothing. Few gain most by learning (Roth-Erev), ramping or heeding the grid, within one another's intervals.
- **Uniform price, continuous and bilateral**: a few who hold back gain, little where the price is uniform or trading
  bilateral. When all hold back they lose, since trades are lost that would have paid both sides. `grid_aware` is the
  exception in the double auction and the continuous one, where it costs nothing, and not in bilateral trading.
- **Mid-market rate**: the price does not depend on what anybody asks, so holding back only loses trades.
- **McAfee**: holding back pays for few and for all, at the expense of what the mechanism keeps.

The 15,600 runs of 200 replicas took 10.5 minutes on two processes of a small machine, 75 ms of CPU each.
"""

ALL = "## All follow it\n\nEUR of all peers together, per day.\n\n"


def main(results: Path | None) -> None:
    """Write the page."""
    if results is None:
        text = HEAD + "The runs have not been made yet.\n"
    else:
        runs = pd.read_parquet(results / "replicas.parquet")
        runs = runs[runs.status == "finished"].astype({"market": str, "population.strategies": str})
        text = HEAD + _caption(runs) + FEW + _table(runs, "few", "saving_per_peer_adopters_eur")
        text += "\n" + ALL + _table(runs, "all", "saving_peers_eur") + FINDINGS
    TARGET.write_text(text, encoding="utf-8")


def _caption(runs: pd.DataFrame) -> str:
    return f"{runs.replica.nunique()} replicas; ± is half of the 95 % t interval of the paired differences.\n\n"


def _table(runs: pd.DataFrame, kind: str, figure: str) -> str:
    """Paired differences to the truthful variant of the same mechanism; the best of each mechanism in bold."""
    markets = list(dict.fromkeys(runs.market))
    ending = f", {kind}"
    followed = [name for name in dict.fromkeys(runs["population.strategies"]) if name.endswith(ending)]
    found = {(name, market): _difference(runs, name, market, figure) for name in followed for market in markets}
    best = {market: max(followed, key=lambda name, m=market: found[name, m][0]) for market in markets}
    lines = [f"| strategy | {' | '.join(markets)} |", "|---|" + "---:|" * len(markets)]
    for name in followed:
        cells = []
        for market in markets:
            mean, half = found[name, market]
            cell = f"{mean:+.2f} ± {half:.2f}" if np.isfinite(half) else f"{mean:+.2f}"
            cells.append(f"**{cell}**" if best[market] == name and mean > 0.0 else cell)
        lines.append(f"| {name.removesuffix(ending)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _difference(runs: pd.DataFrame, name: str, market: str, figure: str) -> tuple[float, float]:
    """Mean of the paired differences, and half of the width of its interval."""
    chosen = runs[runs.market == market].set_index(["population.strategies", "replica"])[figure]
    paired = (chosen.loc[name] - chosen.loc[TRUTHFUL]).dropna().to_numpy(dtype=np.float64)
    return (float(paired.mean()), half_width(paired)) if paired.size else (np.nan, np.nan)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
