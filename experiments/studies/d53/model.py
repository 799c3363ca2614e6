"""What the study assumes: the report's numbers, and choices where the report says nothing."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import product

from peerwatt.agents.policies.incentive_matrix import Reading
from peerwatt.errors import Fault, ScenarioError

__all__ = ["CONGESTED", "LEVELS", "Level", "Model", "PairBound", "Scenario"]

CONGESTED = ("44", "67")
"""Names of the lines that are congested at the start: 44-45 and 12-68."""


class Scenario(StrEnum):
    """Scenarios of section 5.3 and their variants, in the order of Table 8."""

    HEAVY = "0'"
    HEAVY_FREE = "1'"
    START = "0"
    FREE = "1"
    BLOCKED = "2"
    INCENTIVES_80 = "3 (80 %)"
    INCENTIVES_100 = "3 (100 %)"
    CHOSEN = "1''"


class PairBound(StrEnum):
    """Whether the volume that one pair of peers may trade is bounded.

    Attributes:
        NONE: a peer may trade all that it has with one partner.
        PRO_RATA: a seller offers each buyer the share of its offer that the buyer has in the demand of all.
    """

    NONE = "none"
    PRO_RATA = "pro_rata"


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the study's factors.

    Attributes:
        pair_bound: bound on the volume of each pair.
        reading: what the report's "multiplicative factor W" means.
    """

    pair_bound: PairBound = PairBound.NONE
    reading: Reading = Reading.ONE_PLUS_MINUS

    def __str__(self) -> str:
        return f"{self.pair_bound}, {self.reading}"


LEVELS = tuple(Level(bound, reading) for bound, reading in product(PairBound, Reading))
"""All levels; the first is the default, to which the report's text adds nothing."""


@dataclass(frozen=True, slots=True)
class Model:
    """Numbers of the study. Ranges are those of uniform draws.

    Attributes:
        load_scale: base loads as a multiple of those of case69.
        n_nodes: nodes with bids.
        n_bids: bids, spread as evenly over the nodes as can be.
        n_peers: bids of the P2P market.
        upward_eur_per_mwh: prices of upward bids.
        downward_eur_per_mwh: prices of downward bids; the DSO receives them.
        size: a bid's quantity as a share of the base load of its node.
        utility_eur_per_mwh: what a buyer's first MWh is worth to it.
        overflow_mw: overflow of both congested lines together at the start.
        overflow_share: share of it on the first of them.
        mean_occupancy: mean over all lines at the start.
        n_at_risk: lines at or above `risk_occupancy`, the congested ones included.
        n_loaded: lines above `loaded_occupancy`, those at risk included.
        risk_occupancy, loaded_occupancy, least_occupancy: bounds of the classes of lines.
        w: the factor W of the incentives.
        most_eur_per_mwh: highest incentive of one party of a trade.
        heavy_scale: loads of scenario 0' as a multiple of those at the start.
        n_heavy: congested lines of scenario 0'.
        heavy_relief: share of the relief that the order book can give which scenario 0' needs.
        n_chosen: peers of scenario 1''.
    """

    load_scale: float = 3.0
    n_nodes: int = 46
    n_bids: int = 172
    n_peers: int = 70
    upward_eur_per_mwh: tuple[float, float] = (45.0, 55.0)
    downward_eur_per_mwh: tuple[float, float] = (5.0, 15.0)
    size: tuple[float, float] = (0.25, 0.85)
    utility_eur_per_mwh: tuple[float, float] = (80.0, 120.0)
    overflow_mw: float = 0.04
    overflow_share: tuple[float, float] = (0.25, 0.75)
    mean_occupancy: float = 0.65
    n_at_risk: int = 17
    n_loaded: int = 41
    risk_occupancy: float = 0.8
    loaded_occupancy: float = 0.6
    least_occupancy: float = 0.2
    w: float = 0.2
    most_eur_per_mwh: float = 50.0
    heavy_scale: float = 1.5
    n_heavy: int = 34
    heavy_relief: float = 0.75
    n_chosen: int = 7

    def __post_init__(self) -> None:
        faults = [*self._range_faults(), *self._number_faults()]
        if faults:
            raise ScenarioError(faults)

    def _range_faults(self) -> list[Fault]:
        ranges = {each.name: getattr(self, each.name) for each in fields(self)}
        faults = [
            Fault(f"study d53: {name}", f"is {value}", "two numbers, the lower one first, not below 0")
            for name, value in ranges.items()
            if isinstance(value, tuple) and not 0.0 <= value[0] <= value[1]
        ]
        if self.utility_eur_per_mwh[0] <= self.downward_eur_per_mwh[1]:
            faults.append(
                Fault("study d53: utility_eur_per_mwh", f"is {self.utility_eur_per_mwh}", "above downward_eur_per_mwh")
            )
        return faults

    def _number_faults(self) -> list[Fault]:
        rules = (
            ("load_scale", self.load_scale > 0.0, "above 0"),
            ("heavy_scale", self.heavy_scale > 0.0, "above 0"),
            ("overflow_mw", self.overflow_mw > 0.0, "above 0"),
            ("w", 0.0 < self.w < 1.0, "between 0 and 1"),
            ("most_eur_per_mwh", self.most_eur_per_mwh >= 0.0, "0 or more"),
            ("heavy_relief", 0.0 < self.heavy_relief <= 1.0, "above 0, at most 1"),
            ("n_bids", self.n_nodes <= self.n_bids <= 4 * self.n_nodes, "one to four per node"),
            ("n_peers", 2 <= self.n_peers <= self.n_bids, "2 to n_bids"),
            ("n_chosen", self.n_chosen >= 2, "2 or more"),
        )
        return [
            Fault(f"study d53: {name}", f"is {getattr(self, name)}", remedy) for name, ok, remedy in rules if not ok
        ]
