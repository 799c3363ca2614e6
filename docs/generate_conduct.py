"""Writes docs/strategic-conduct.md: what strategic conduct gains and costs under several market rules, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peerwatt.experiments.conduct import ConductEffect, amount, compare_conduct, difference
from peerwatt.sim.scenario import Scenario

TARGET = Path(__file__).with_name("strategic-conduct.md")
REPLICAS = 8
BASE = {
    "time.start": "2016-01-19",
    "grid.max_loading_percent": 15,
    "population.demand_response": {"household": 0.5, "heat_pump": 0.5, "ev": 0.5},
    "flexibility.load_share": 0.8,
    "market.mechanism": None,
}
"""A winter day of the village with flexible households and limits so tight that there is something to game."""

GAMES: dict[str, dict[str, Any]] = {
    "CM1, paid as bid": {},
    "CM1, paid as cleared": {"flexibility.pricing": "pay_as_cleared"},
    "CM1, paid as bid, relief is scarce": {"flexibility.load_share": 0.3},
    "CM1, paid as cleared, relief is scarce": {
        "flexibility.load_share": 0.3,
        "flexibility.pricing": "pay_as_cleared",
    },
    "CM1, upward must equal downward": {"flexibility.balanced": True},
    "CM1, relief bought before trading (`lfm_first`)": {"coordination.sequence": "lfm_first"},
    "CM1, peers bid themselves": {"flexibility.participants": ["peers"]},
    "CM3-V2, blocking from 100 %": {
        "coordination.preset": "cm3-v2",
        "coordination.scheme_options": {"threshold_percent": 100},
    },
    "CM3-V2, blocking from 80 %": {"coordination.preset": "cm3-v2"},
}
COLLECTIONS: dict[str, dict[str, Any]] = {
    "incentives from 80 %": {},
    "incentives from 100 %": {"coordination.scheme_options": {"threshold_percent": 100}},
    "W = 0.1": {"coordination.scheme_options": {"w": 0.1}},
    "W read as a factor (`times`)": {"coordination.scheme_options": {"reading": "times"}},
    "three rounds": {"coordination.rounds": 3},
    "imbalance costs 20 EUR/MWh extra": {
        "tariff.imbalance_short_eur_per_mwh": 320,
        "tariff.imbalance_long_eur_per_mwh": 60,
    },
    "blocking from 80 % instead": {"coordination.scheme": "blocking"},
}
CM1 = {**BASE, "coordination.preset": "cm1", "market.conduct": "inc_dec"}
CM4 = {
    **BASE,
    "coordination.preset": "cm4",
    "coordination.scheme": "incentive_matrix",
    "population.strategies": {"incentive_collector": 0.5, "truthful": 0.5},
}

HEAD = """# Strategic conduct

<!-- Written by docs/generate_conduct.py from runs; do not edit. -->

Market rules are made for people who follow them. D5.3 names two ways not to: a mediator that violates the network's
limits on purpose and then sells the relief (section 4.1.1), and peers who trade for the incentives' sake (section 5.5,
iii). Both can be simulated here, and rules can be compared by what they let strategic agents gain and what it costs the
DSO and the others.

```python
from peerwatt import Scenario
from peerwatt.experiments.conduct import compare_conduct

village = {
    "time.start": "2016-01-19",
    "time.periods": 12,
    "time.period_s": 7200,
    "grid.max_loading_percent": 15,
    "population.demand_response": {"household": 0.5, "heat_pump": 0.5, "ev": 0.5},
    "market.mechanism": None,
}
game = {**village, "coordination.preset": "cm1", "market.conduct": "inc_dec"}
effect = compare_conduct(Scenario.load("lv-village", game), replicas=2)
print(effect.as_markdown())
assert effect.gain("flexibility_paid_eur") > 0
```

`compare_conduct` runs the scenario and its truthful twin on the same draws, replica by replica, and gives means and
paired differences with their 95 % interval. What peers receive has the value of their consumption in it.

## A mediator that congests the grid and sells the relief

`market.conduct: inc_dec` makes the mediator of an auction (CM1, CM3-V2) play the increase-decrease game of Hirth and
Schlecht (2018). It needs neither market power nor knowledge of the grid:

1. The auction accepts steps of flexible power. The mediator schedules more of them than were matched: consumption at
   the peer's limit price, below what the supplier takes for the energy, or feed-in at a price above what the supplier
   pays. The difference is its loss. The schedule goes to the peers (`ClearingNotice`) and to the DSO
   (`ProposedTrades`).
2. The DSO finds the schedule congested and asks for relief. The mediator offers the undoing (`AggregateBid`, in rows of
   its own), a little cheaper than the flexibility of its own peers, whose bids it collects.
3. What the DSO buys is undone: the peers get another `ClearingNotice`, consume what the auction gave them, and the
   mediator keeps the payment. What is not bought is carried out, at the mediator's loss.

Peers are as well off as promised: a step is worth its limit price on the mean, and the mediator pays the rest of the
supplier's bill (`surplus` in the settlement). Payments are made at the meter: a peer that did not get the second notice
has consumed, is paid for it, and the DSO does not pay the mediator for that part.

What it knows: bids and connection points of its peers, the supplier's tariff, and what the flexibility market has
bought of its own and its peers' offers. It learns by a simple rule (`agents/conducts/inc_dec.py`): it keeps for each
connection point the share of its schedule that was undone, exponentially forgotten; a step is scheduled where the
expected payment is above the expected loss; in a share of the periods (`probe`) it tries the cheapest step of every
peer; its ask follows the profit, up when at least half of the offer was bought, else down.

```yaml
market:
  conduct: inc_dec
  conduct_options: {probe: 0.02, learning_rate: 0.5, ask_eur_per_mwh: 45, step: 0.1, cap_eur_per_mwh: 200}
coordination: {preset: cm1}
```

Where it cannot sell what it undoes, because it does not take part in the flexibility market or because that starts from
the state before trading (`lfm_first`, `unrelated`), it is truthful: it has nothing to gain. With the sequence
`iterative` the conduct is refused. A conduct of one's own is registered with `peerwatt.agents.conducts.conduct`.

@games@

Means over @replicas@ replicas of a winter day in `lv-village` (19 January, limits of 15 % of the ratings, half of every
household's, heat pump's and car's consumption flexible; for relief, peers can give up four fifths of what they consume,
three tenths where relief is scarce), in EUR per day. Mediator, peers and DSO: what each receives more than in the
truthful twin, with 95 % intervals. Relief: what the DSO pays for it.

- The game pays without scarcity: the mediator's relief only has to be a little cheaper than that of its peers. The DSO
  pays more than the mediator gains; the rest is its loss on what it has to carry out, and ends with the supplier.
- Scarcity multiplies it. Where the relief of the peers does not suffice, all of what the mediator schedules is bought
  back, and its ask rises. Paid as cleared, relief then has the price of the shortage at its node (the market's
  10,000 EUR/MWh), with and without the game; paying as cleared is no remedy.
- Where upward relief must be matched by downward relief, it costs more and less of the mediator's is bought; what is
  bought takes the place of its peers'.
- A market that starts from the state before trading takes away the object of the game (the overflow in its row is that
  after relief and trading), peers who bid themselves take away the player.
- Blocking (CM3-V2) bars flexible steps that would burden a line at risk from the auction, and so from the mediator's
  schedule. What is left is what its probes cost it.

## Peers that trade to collect incentives

Peers of the strategy `incentive_collector` bid truthfully for their own power. Where the DSO offers incentives, they
trade besides against their own direction: a consumer sells, a producer buys, up to its own power. What they so resell
the supplier gives or takes, so no energy moves, but the DSO pays both parties of each trade for relief. A strategy that
is an object with `resale_mw` can do so ([own-strategy.md](own-strategy.md)); the volume is bounded, since with several
lines at risk circles of trades pay without end. Flexible consumption does as with truthful peers: it rises where the
incentive pays for it, and resellers give it more partners.

@collections@

The same day under CM4 with the incentive matrix, half of the peers collecting. Incentives: what the DSO pays for them
less the penalties.

- The DSO pays for relief that does not take place. What it pays goes to the collectors and, in part, to the partners
  of their trades.
- How much it is depends on the matrix: a higher threshold and a smaller W make it less, `times` and further rounds
  multiply it.
- The rule that ends it is not the DSO's: where imbalance costs more than the supplier's tariff, what is left of such a
  trade at the meter costs something, and collectors are truthful. That is this strategy's caution; under a surcharge
  below the incentive a bolder one would go on.
- Blocking pays nobody, so there is nothing to collect.
"""


def table(effects: dict[str, ConductEffect], gain: str, gains: str, paid: str, pays: str) -> str:
    """What strategic agents gain and others lose, by market rule.

    Args:
        effects: the effect under every rule.
        gain: figure of what the strategic agents receive.
        gains: headings of it and of the other peers.
        paid: figure of what the DSO pays.
        pays: heading of it.
    """
    head = ("market rule", *gains.split(", "), "DSO", f"{pays}, truthful", "strategic", "overflow before the LFM, kW")
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for rule, effect in effects.items():
        cells = [difference(effect.strategic[name]) for name in (gain, "other_peers_eur", "dso_eur")]
        runs = (effect.truthful, effect.strategic)
        cells += [amount(run[paid].mean) for run in runs]
        cells.append(" to ".join(f"{1e3 * run['overflow_before_mw'].mean:.2f}" for run in runs))
        lines.append(f"| {' | '.join((rule, *cells))} |")
    return "\n".join(lines)


def measured(base: dict[str, Any], rules: dict[str, dict[str, Any]]) -> dict[str, ConductEffect]:
    """The effect under every rule."""
    found = {}
    for rule, changes in rules.items():
        found[rule] = compare_conduct(Scenario.load("lv-village", {**base, **changes}), replicas=REPLICAS, jobs=2)
    return found


def page(games: dict[str, ConductEffect], collections: dict[str, ConductEffect]) -> str:
    """The page."""
    game = table(games, "mediator_eur", "mediator, peers", "flexibility_paid_eur", "relief")
    collection = table(collections, "collectors_eur", "collectors, other peers", "incentives_paid_eur", "incentives")
    return HEAD.replace("@games@", game).replace("@collections@", collection).replace("@replicas@", str(REPLICAS))


if __name__ == "__main__":
    TARGET.write_text(page(measured(CM1, GAMES), measured(CM4, COLLECTIONS)), encoding="utf-8")
