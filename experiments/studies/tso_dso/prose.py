"""The words of the page; numbers are filled in by `peerwatt.experiments.studies.tso_dso.page`."""

from __future__ import annotations

__all__ = ["PAGE"]

PAGE = """# P2P flexibility markets between TSO and DSO: section V of Marques et al.

<!-- Written by `peerwatt study tso-dso --docs`; do not edit. -->

Marques et al. run a P2P market on a 37-bus network for a day, without regard for the grid, and then with four models
that bring in the DSO (congestion, voltage), the TSO (frequency) and both. A part of their data is not published. The
case `rbts2-37` and the scenario `tso-dso` reconstruct it from the paper's tables ([cases.md](../cases.md#rbts2-37);
the scenario says of each number where it is from). This study runs the paper's five scenarios on it and prints its
tables I to V next to what comes out.

```sh
peerwatt study tso-dso                              # tables I to V, figures 7 to 10
peerwatt study tso-dso --sensitivity                # and what the paper leaves open, one choice at a time
peerwatt run tso-dso --set coordination.preset=p2p_volt --set grid.line_impedance_factor=3    # one day of it
```

The results directory has `tables.csv`, `tables.json`, `tables.md`, `hours.csv` (a row per run and hour), the figures,
and `sensitivity.csv`. This page was written by the second command with `--docs`; its runs took {seconds:.0f} s
together, the slowest day {slowest:.1f} s (scenario {slowest_run}), {loading:.1f} s of it all once for loading the
grid.

## What is matched by construction, and what is a result

- **The benchmark** is matched: loads, forecasts and cost functions are reconstructed such that it comes out.
- **Scenario 4** is nearly so: what the benchmark spills is identified by its table. A result is that the market gives
  all of it to the virtual load and that the DSO finds nothing to object to.
- **Hour 12 before P2P_Full** is matched: conductor and transformer are fitted to it.
- **Scenarios 1, 2, 3, 3 with reactive power, 5 after P2P_Full** are results of a search that knows nothing of the
  paper's numbers. How it ends depends on choices that the paper leaves open ([below](#which-choice-decides)). They are
  the presets' own, but for the least penalty of scenario 5; the paper tunes its parameters for each scenario.

{solved}

## Tables

"%" is the difference to the paper. Energies balance without losses, as the paper's do. SW is utility of the consumers
less cost of the producers less what the supplier is paid. The paper takes off alpha per MWh of extra flexibility and
does not say what alpha is: Table I implies 104 EUR/MWh, Table III 70, and no value fits both. So SW stands here
with each, which is what compares with the paper, and last without it.

{tables}

**Table I.** Only flexibility helps: in hours 20 and 21 nothing is traded that loads the transformer, the supplier
delivers what loads take at least. In steps of 5 % of the baseline it takes 10 % in both hours; with steps of 1 % grid
and consumption are the paper's to the second decimal (below). Base loads were reconstructed with this table at hand,
so that is less of a proof than it looks.

**Table II.** Lines are congested in hours
{congested}; the paper has 1 to 9 and 16 to 24. Hours with much PV need nothing, and no other scenario costs as
much welfare, both as in the paper. Here more wind is given up and consumption falls further. Neither is what grid and
flexibility force: welfare maximised under the limits of all lines, with the same grid and the same flexibility, gives
100.3 MWh of wind; with one CHP unit at bus 3 in place of where it was reconstructed, it gives a consumption of 325.8
MWh. So the missing wind is the search's, the missing consumption the reconstruction's:

- One penalty c holds for all trades over any line that was ever congested in the hour: too much for most of them. In
  the nights line 13 (wind turbines at bus 14) is solved before line 27 (those at bus 28); when the penalty is enough
  for the second, both are well below their limits: wind has given up more than either line needs. How finely the
  penalty is searched for alone moves 6 MWh of wind (below).
- The paper's hour 3 is solved without extra flexibility. Here the supplier, who steps in for the wind, congests line
  1, the head of feeder 1, by what its loads take at least: flexibility must help.
- Sites of the second wind unit and of CHP, and how load is spread over the feeders, are reconstructed. So is where
  CHP gives way, which it does in the paper and not here.

**Table III.** Hours 19 to 24 fall below 0.95 pu and are solved by flexibility alone, as in the paper. The paper's
highest flexibility is 60 % (30 % and 30 % extra) in hours 20 and 21, here 55 %; with steps of 10 % it is 60 %, and the
paper's consumption lies between the two. Reactive power (the paper has no column for it) takes most of the need for
flexibility away.

**Table IV.** Generation must run at its forecast, as in the paper, and the TSO asks for what the benchmark spills. With
wind and sun that need not run, the same request gives the same dispatch ({flexible_mwh:.2f} MWh for the virtual load).
What must run is fed in whoever buys it, so table `regulation` counts {provided_mwh:.2f} MWh as provided in the first
case, and {flexible_provided_mwh:.2f} MWh in the second.

**Table V.** The least flexibility that solves hour 12 is the paper's 20 %, in steps of 5 % (18 % in steps of 1 %).
The DSO refuses the TSO's request but for the {kept:.2f} MW that the CHP units must run at anyway, which do no harm:
in the paper nothing is sold to the virtual load. The worst line is 13 before and after, the worst bus before is 14,
both as in the paper. The hours before the twelfth are run, because a day begins at midnight, and not shown.

The virtual load has no price in the paper. Here the TSO pays {price} EUR/MWh at most, more than wind and sun cost (up
to 3.01) and less than the last MWh is worth to a load (3.2): it takes what nobody else wants.

### Losses

The paper does not say of what its "Losses (%)" are a share. Four readings, each as a multiple of the paper's number:

{losses}

The total of the day over consumption is ruled out: it is 9 to 16 % too low in all days. With lines only, the mean over
the hours as a share of what is supplied meets the days best, and it is used above. In hour 12 of scenario 4 the
transformer would have to be in, and scenario 5 has a tenth less than the paper by all readings. Resistances are
reconstructed, so the study cannot decide.

## Figures

Before: the benchmark's market on the scenario's grid.

{figures}

## Which choice decides

{variations}

- **Growth of the penalty** decides scenario 2 more than anything else. Line 27 wants about 100 EUR/MWh for a pair at
  mean distance. Where k iterations do not reach that, flexibility has to do all the work, and grid energy falls to a
  few MWh; where they jump over it, wind gives up far more than is needed, and the grid delivers it. The default
  searches for the least flexibility, and for it the least penalty, to 10 %.
- **Whose load is moved.** All loads by the same share, as in the paper, moves many that relieve nothing. Moving only
  those that do keeps more consumption, and wind, but lets the grid deliver more. The paper's consumption is between.
- **Steps** of flexibility decide scenarios 1 and 3 within the difference to the paper.
- **alpha** decides welfare. Without it scenarios 1 and 3 cost next to nothing, since a load at 70 % values its next
  MWh at about the supplier's price: at 57 EUR/MWh, so that the first part of the extra flexibility even gains.
- **Least penalty in scenario 5.** At 2.5 EUR/MWh, where the usual search ends, wind and sun that must run are sold to
  nobody for the penalty on their trades, and the flexible part of others is: grid energy below 0 is fed in unpaid.
- **Reactive power.** The paper reduces tan phi of loads and does not say to what; here to 0.

## Other grids

The models are presets and run on any grid; only the scenario file differs: [a week on CIGRE's and on a SimBench
medium-voltage network](tso-dso-other-grids.md). How they work is in [tso-dso.md](../tso-dso.md).
"""
