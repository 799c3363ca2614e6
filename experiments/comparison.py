"""What a comparison of variants comes to: every run with its key figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peerwatt.sim.kpi import Kpi

__all__ = ["DIED", "Comparison", "Outcome", "Variant"]

DIED = "its process died, and died again when it was run alone: out of memory, or a library that crashed"


@dataclass(frozen=True, slots=True)
class Variant:
    """A name, and what it changes in the scenario, by key path."""

    name: str
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run.

    Attributes:
        variant: name of the variant.
        replica: number of the replica.
        kpi: its key figures; none if it failed.
        error: why it failed, else empty.
    """

    variant: str
    replica: int
    kpi: dict[str, Kpi]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and what came out.

    Attributes:
        variants: their names; the first is what the others are compared to.
        replicas: number of replicas.
        about: what was simulated, by label: scenario, grid, time, seed, limits.
        assumed: what was assumed of a grid that lacks it, in words.
        outcomes: every run, by variant and replica.
    """

    variants: tuple[str, ...]
    replicas: int
    about: dict[str, str]
    assumed: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Runs that have no result."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)
