"""What strategic conduct gains, and who pays for it: a scenario against its truthful twin, on the same draws.

The twin differs in nothing but the conduct: its mediator is truthful (`market.conduct`), and who follows the strategy
`incentive_collector` bids truthfully instead. Replica r of both draws the same population, weather and forecast errors,
so that differences are the conduct's own doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peerwatt.experiments.comparison import Comparison, Outcome
from peerwatt.experiments.comparison_table import Paired, paired
from peerwatt.experiments.wording import number

if TYPE_CHECKING:
    from peerwatt.agents.messages import BoolArray
    from peerwatt.grid.cases import GridCase
    from peerwatt.grid.network import Network
    from peerwatt.sim.model import Simulation
    from peerwatt.sim.period import PeriodResult
    from peerwatt.sim.scenario import Scenario

__all__ = ["FIGURES", "STRATEGIC", "ConductEffect", "amount", "compare_conduct", "difference", "truthful_twin"]

STRATEGIC = "incentive_collector"
"""The strategy of peers whose gain is measured."""

FIGURES: dict[str, str] = {
    "mediator_eur": "mediator (or market) receives, EUR",
    "collectors_eur": "collectors receive, EUR",
    "other_peers_eur": "other peers receive, EUR",
    "dso_eur": "DSO receives, EUR",
    "supplier_eur": "supplier receives, EUR",
    "outside_eur": "outside FSPs receive, EUR",
    "flexibility_paid_eur": "DSO pays for relief, EUR",
    "incentives_paid_eur": "DSO pays for incentives, less penalties, EUR",
    "relief_mwh": "relief activated, MWh",
    "traded_mwh": "traded between peers, MWh",
    "congested_before": "congested lines x periods before the LFM",
    "overflow_before_mw": "overflow before the LFM, mean, MW",
    "congested_delivered": "congested lines x periods at delivery",
}
"""Figures of a run, with their labels; what peers receive has the value of their consumption in it."""

_ROUNDING = 1e-8
_RUNS = ("truthful", "strategic")


@dataclass(frozen=True, slots=True)
class ConductEffect:
    """Figures with and without strategic conduct.

    Attributes:
        replicas: number of replicas.
        truthful: figures of the twin, by the names of `FIGURES`.
        strategic: figures of the scenario, with the paired difference to the twin and its 95 % interval.
    """

    replicas: int
    truthful: dict[str, Paired]
    strategic: dict[str, Paired]

    def gain(self, figure: str) -> float:
        """Mean of what a figure rises by strategic conduct."""
        return self.strategic[figure].difference

    def as_markdown(self) -> str:
        """A table; figures that are 0 in both are left out."""
        lines = ["| | truthful | strategic | difference |", "|---|---:|---:|---:|"]
        for name, label in FIGURES.items():
            own, other = self.strategic[name], self.truthful[name]
            if own.mean or other.mean:
                cells = (label, amount(other.mean), amount(own.mean), difference(own))
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def amount(value: float) -> str:
    """A figure; what is rounding is 0."""
    return number(value) if abs(value) > _ROUNDING else "0"


def difference(value: Paired) -> str:
    """A paired difference with its interval."""
    if abs(value.difference) <= max(_ROUNDING, 1e-7 * abs(value.mean)):
        return "0"
    text = f"{'+' if value.difference > 0.0 else ''}{number(value.difference)}"
    return text if np.isnan(value.half_width) else f"{text} ± {amount(value.half_width)}"


def compare_conduct(
    scenario: Scenario, *, case: GridCase | None = None, replicas: int = 1, jobs: int = 1
) -> ConductEffect:
    """Run a scenario and its truthful twin on the same replicas.

    Args:
        scenario: with a conduct (`market.conduct`), or with peers of the strategy `incentive_collector`.
        case: a grid in place of the scenario's.
        replicas: how often, each time with other draws.
        jobs: replicas at a time.

    Raises:
        InputError: the scenario or the grid cannot be used.
    """
    from joblib import Parallel, delayed

    pairs = Parallel(n_jobs=jobs)(delayed(_pair)(scenario, case, replica) for replica in range(replicas))
    outcomes = tuple(
        Outcome(name, replica, dict(figures))
        for name, column in zip(_RUNS, zip(*pairs, strict=True), strict=True)
        for replica, figures in enumerate(column)
    )
    comparison = Comparison(_RUNS, replicas, {}, (), outcomes)
    found = {name: paired(comparison, name) for name in FIGURES}
    truthful, strategic = ({name: each[run] for name, each in found.items()} for run in _RUNS)
    return ConductEffect(replicas, truthful, strategic)


def truthful_twin(scenario: Scenario, collectors: tuple[str, ...]) -> Scenario:
    """The scenario without strategic conduct.

    Args:
        scenario: the scenario.
        collectors: names of the peers that collect incentives in it.
    """
    changes = {f"population.peers[{name}].strategy": "truthful" for name in collectors}
    return scenario.replace({"market.conduct": "truthful", "market.conduct_options": {}, **changes})


def _pair(scenario: Scenario, case: GridCase | None, replica: int) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of the twin and of the scenario."""
    from peerwatt.sim.assembly import load_grid
    from peerwatt.sim.model import Simulation

    case = load_grid(scenario) if case is None else case
    with Simulation(scenario, case=case, replica=replica) as simulation:
        population = simulation.context.population
        follows = np.array([population.strategy[code] == STRATEGIC for code in population.strategy_code.tolist()])
        names = tuple(population.name[row] for row in np.flatnonzero(follows).tolist())
        strategic = _figures(simulation, follows)
    with Simulation(truthful_twin(scenario, names), case=case, replica=replica) as simulation:
        return _figures(simulation, follows), strategic


def _figures(simulation: Simulation, collects: BoolArray) -> dict[str, float]:
    """Simulate and add up."""
    network = simulation.case.network
    total = dict.fromkeys(FIGURES, 0.0)

    def add(model: Simulation) -> None:
        if model.last is not None:
            for name, value in _of_period(model.last, network, collects, model.context.n_accounts).items():
                total[name] += value

    simulation.run(add)
    total["overflow_before_mw"] /= simulation.n_periods
    return total


def _of_period(result: PeriodResult, network: Network, collects: BoolArray, n_accounts: int) -> dict[str, float]:
    """Figures of one period."""
    n, entries = len(collects), result.entries
    balance = np.bincount(entries.payee, entries.amount_eur, n_accounts)
    balance = balance - np.bincount(entries.payer, entries.amount_eur, n_accounts)
    peers = result.utility_eur - result.payment_eur
    before, delivered = result.states["p2p"], result.states["delivery"]
    return {
        "mediator_eur": float(balance[n + 2]),
        "collectors_eur": float(peers[collects].sum()),
        "other_peers_eur": float(peers[~collects].sum()),
        "dso_eur": float(balance[n + 1]),
        "supplier_eur": float(balance[n]),
        "outside_eur": float(balance[n + 3 :].sum()),
        "flexibility_paid_eur": _paid_by(result, n + 1, "flexibility"),
        "incentives_paid_eur": _paid_by(result, n + 1, "incentive") + _paid_by(result, n + 1, "penalty"),
        "relief_mwh": sum(float(part.activated_mw.sum()) for part in result.flexibility) * result.period_h,
        "traded_mwh": result.trades.volume_mw * result.period_h,
        "congested_before": before.violations(network).n_congested,
        "overflow_before_mw": before.overflow_sum_mw(network) if before.converged else 0.0,
        "congested_delivered": delivered.violations(network).n_congested,
    }


def _paid_by(result: PeriodResult, account: int, reason: str) -> float:
    """What an account pays for a reason less what it receives for it."""
    from peerwatt.market.settlement import REASONS, Reason

    entries = result.entries
    amount = np.where(entries.reason == REASONS.index(Reason(reason)), entries.amount_eur, 0.0)
    return float(amount[entries.payer == account].sum() - amount[entries.payee == account].sum())
