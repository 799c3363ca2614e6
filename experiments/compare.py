"""Compares variants of how P2P trading and the grid are brought together, on the same draws.

Replica r of every variant draws the same population, weather, forecast errors and faults, so that what differs between
variants is the variants' own doing. What a run gives is its key figures (`peerwatt.sim.kpi`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peerwatt.errors import Fault, PeerwattError, ScenarioError
from peerwatt.experiments.comparison import DIED, Comparison, Outcome, Variant
from peerwatt.experiments.pool import Pool
from peerwatt.experiments.replica import RECORD, attempt
from peerwatt.registry import nearest

if TYPE_CHECKING:
    from peerwatt.grid.cases import GridCase
    from peerwatt.sim.scenario import Scenario

__all__ = ["VARIANTS", "Variant", "compare", "read_variants"]


def _cm4(scheme: str) -> dict[str, Any]:
    """CM4 with a scheme, and renegotiation as in D5.3, figure 11."""
    return {"coordination.preset": "cm4", "coordination.scheme": scheme, "coordination.rounds": 3}


VARIANTS: dict[str, dict[str, Any]] = {
    "cm1": {"coordination.preset": "cm1"},
    "cm2": {"coordination.preset": "cm2"},
    "cm3-v1": {"coordination.preset": "cm3-v1"},
    "cm3-v2": {"coordination.preset": "cm3-v2"},
    "cm4-blocking": _cm4("blocking"),
    "cm4-incentives": _cm4("incentive_matrix"),
    "cm4-usage-price": _cm4("usage_price"),
    "cm4-constraint-based": _cm4("constraint_based"),
    "cm4-cost-allocation": _cm4("cost_allocation"),
    "cm5": {"coordination.preset": "cm5", "coordination.rounds": 3},
}
"""The conceptual models of D5.3, CM4 once with each scheme: changes of the scenario by key path."""

_NO_PEERS = "The scenario's settings of single peers and its profiles do not hold on another grid"
_NEXT_KEY = re.compile(r",(?=\s*[A-Za-z_][\w.]*=)")


def read_variants(texts: Iterable[str]) -> tuple[Variant, ...]:
    """Variants as the command line has them.

    Args:
        texts: names of `VARIANTS`, or variants of one's own as ``name:key=value,key=value``.

    Raises:
        ScenarioError: an unknown name, one that stands twice, or changes that cannot be read; all at once.
    """
    from peerwatt.sim.reading import parse_overrides

    variants: dict[str, Variant] = {}
    faults: list[Fault] = []
    for text in texts:
        name, own, given = text.partition(":")
        if name in variants:
            faults.append(Fault(f"variant '{name}'", "stands twice", "give one of them another name"))
        elif own:
            try:
                changes = parse_overrides(_NEXT_KEY.split(given), f"variant '{name}'", "coordination.preset=cm2")
                variants[name] = Variant(name, changes)
            except ScenarioError as error:
                faults += error.faults
        elif name in VARIANTS:
            variants[name] = Variant(name, VARIANTS[name])
        else:
            hint = f"{nearest(name, list(VARIANTS))}, or one of your own as name:key=value,key=value"
            faults.append(Fault(f"variant '{name}'", "there is no such variant", hint))
    if faults:
        raise ScenarioError(faults)
    return tuple(variants.values())


def compare(
    variants: Sequence[Variant],
    source: str | Path = "lv-village",
    *,
    grid: str | None = None,
    replicas: int = 1,
    changes: dict[str, Any] | None = None,
    jobs: int | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Comparison:
    """Run every variant on the same replicas.

    Args:
        variants: what to compare; the first is the reference.
        source: scenario that all share; its own mechanism gives way to the variants'.
        grid: case in place of the scenario's; its peers' own settings are left out.
        replicas: how often, each time with other draws.
        changes: further values of the scenario by key path, for all variants.
        jobs: runs at a time; by default as many as there are processors.
        on_outcome: called after each run, in any order.

    Returns:
        The runs; what failed has its error, and the rest went on.

    Raises:
        InputError: the grid cannot be used, or no variant can be run.
    """
    given = dict(changes or {})
    common: dict[str, Any] = {"market.mechanism": None, "market.options": {}}
    if grid is not None:
        common |= {"grid.case": grid, "grid.profiles": None, "population.peers": {}}
    base, case = _base(source, common, given)
    from peerwatt.experiments.assumptions import assumptions

    assumed = assumptions(case)
    scenarios, outcomes = _scenarios(variants, source, {**common, **assumed.changes}, given, replicas)
    tasks = [
        (name, replica, scenario, assumed.lent) for replica in range(replicas) for name, scenario in scenarios.items()
    ]
    for outcome in Pool(jobs=jobs).finished(_run, tasks, _died):
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    names = tuple(variant.name for variant in variants)
    outcomes.sort(key=lambda outcome: (names.index(outcome.variant), outcome.replica))
    said = assumed.said if "population.peers" not in common else (*assumed.said, _NO_PEERS)
    return Comparison(names, replicas, _about(base, case), said, tuple(outcomes))


def _base(source: str | Path, common: dict[str, Any], given: dict[str, Any]) -> tuple[Scenario, GridCase]:
    """The scenario without any variant, and its grid with the limits that count."""
    from peerwatt.sim.assembly import limited, load_grid
    from peerwatt.sim.scenario import Scenario

    of_variants = ("coordination.", "flexibility.", "market.")
    own = {key: value for key, value in given.items() if not key.startswith(of_variants)}
    base = Scenario.load(source, {**common, "coordination": {}, "flexibility": {}, **own})
    return base, limited(load_grid(base), base.grid)


def _scenarios(
    variants: Sequence[Variant], source: str | Path, common: dict[str, Any], given: dict[str, Any], replicas: int
) -> tuple[dict[str, Scenario], list[Outcome]]:
    """The scenario of each variant, and the outcome of those that are refused.

    Raises:
        ScenarioError: all are refused.
    """
    from peerwatt.sim.scenario import Scenario

    scenarios: dict[str, Scenario] = {}
    refused: list[Outcome] = []
    first: PeerwattError | None = None
    for variant in variants:
        changes = {**common, **variant.changes, **given, "record": RECORD, "name": variant.name}
        try:
            scenarios[variant.name] = Scenario.load(source, changes)
        except PeerwattError as error:
            first = first or error
            refused += [Outcome(variant.name, replica, {}, str(error)) for replica in range(replicas)]
    if first is not None and not scenarios:
        raise first
    return scenarios, refused


def _run(name: str, replica: int, scenario: Scenario, lent: bool) -> Outcome:  # noqa: FBT001
    """Simulate once, in a process of its own."""
    from peerwatt.experiments.assumptions import assumed_case
    from peerwatt.sim.assembly import load_grid

    return attempt(name, replica, scenario, lambda: assumed_case(load_grid(scenario)) if lent else load_grid(scenario))


def _died(name: str, replica: int, *_: object) -> Outcome:
    return Outcome(name, replica, {}, DIED)


def _about(base: Scenario, case: GridCase) -> dict[str, str]:
    buses, lines, trafos = case.network.buses, case.network.lines, case.network.trafos
    loading = [*lines.max_loading_percent.tolist(), *trafos.max_loading_percent.tolist()]
    return {
        "scenario": base.name,
        "grid": case.name,
        "time": f"{base.time.periods} periods of {base.time.period_s} s from {base.start:%Y-%m-%d}",
        "seed": str(base.seed),
        "limits": f"voltage {_range(buses.min_vm_pu.tolist())} to {_range(buses.max_vm_pu.tolist())} pu, loading "
        f"{_range(loading)} %; AC power flow ({base.grid.engine}) at every stage",
    }


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"({low:g} to {high:g})"
