"""Every exception that peerwatt raises on purpose.

    PeerwattError                  base; carries an exit status for the command line
     ├── InputError                something given by the user is wrong; lists every fault   (2)
     │    ├── ScenarioError        a scenario file, a `--set`, a name that does not exist
     │    ├── GridDataError        a network that cannot be used: islands, missing data
     │    ├── ProfileError         time series with gaps, wrong columns, too short
     │    ├── BookError            bids that contradict themselves
     │    └── ResultsError         a results directory that is not one, or is in use
     └── SimulationError           a run that could not go on                               (1)
          ├── PowerFlowError       a power flow failed and the scenario says stop
          ├── AgentError           an agent's own code (a strategy, a policy) raised
          └── LockstepError        replicas that cannot run in lockstep

An `InputError` collects all faults of an input, so that a file is mended in one go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "AgentError",
    "BookError",
    "Fault",
    "GridDataError",
    "InputError",
    "LockstepError",
    "PeerwattError",
    "PowerFlowError",
    "ProfileError",
    "ResultsError",
    "ScenarioError",
    "SimulationError",
    "counted",
]

_SHOWN = 3  # places of equal faults that are named


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input.

    Attributes:
        where: file, key path, element or agent, e.g. ``my.yaml: tariff.supply_eur_per_mwh``.
        problem: what is wrong, with the value that was found.
        remedy: what is allowed, or what to do; may be empty.
    """

    where: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{text} ({self.remedy})" if self.remedy else text


def counted(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Faults with those that are equal but for their place as one, which names the first places and counts the rest.

    Args:
        faults: in their order; each takes the place of the first of its kind.
    """
    alike: dict[tuple[str, str], list[Fault]] = {}
    for fault in dict.fromkeys(faults):
        alike.setdefault((fault.problem, fault.remedy), []).append(fault)
    return tuple(each for group in alike.values() for each in ([_as_one(group)] if len(group) > _SHOWN else group))


def _as_one(group: list[Fault]) -> Fault:
    first, places = group[0], [fault.where for fault in group[:_SHOWN]]
    start = first.where.partition(": ")[0] + ": "
    if all(fault.where.startswith(start) for fault in group):  # the file, named once
        places[1:] = [place.removeprefix(start) for place in places[1:]]
    return Fault(f"{', '.join(places)} and {len(group) - _SHOWN} more", first.problem, first.remedy)


class PeerwattError(Exception):
    """Base of all errors that peerwatt raises on purpose."""

    exit_status = 1


class InputError(PeerwattError):
    """Something that the user gave is wrong.

    Args:
        faults: one fault, or all faults of the input; many that are equal but for their place are one line.
    """

    exit_status = 2

    def __init__(self, faults: Fault | Iterable[Fault]) -> None:
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in counted(self.faults)))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)


class ScenarioError(InputError):
    """A scenario file, an override or a name in it is wrong."""


class GridDataError(InputError):
    """A network cannot be used."""


class ProfileError(InputError):
    """Time series have gaps, wrong columns or are too short."""


class BookError(InputError):
    """Bids or other market input contradict themselves."""


class ResultsError(InputError):
    """A results directory cannot be read or written."""


class SimulationError(PeerwattError):
    """A run could not go on; what was computed before is kept."""


class PowerFlowError(SimulationError):
    """A power flow did not converge and the scenario says stop."""


class AgentError(SimulationError):
    """An agent's own code raised; the original exception is the cause."""


class LockstepError(SimulationError):
    """Replicas cannot run in lockstep; one by one they can."""
