"""How the frequency of the synchronous system that a grid hangs on answers an imbalance.

The whole system is one machine with one governor and turbine. In pu of its size and of its nominal frequency, with
`p` the imbalance (generation less load), `m` the primary control power and `f` the deviation of the frequency,

    2 H df/dt = p + m - D f                      (swing equation with the damping of loads)
    T dm/dt   = clip(-dead(f) / R, -r, r) - m    (droop R behind one time constant, reserve r)

where `dead(f)` is what f is beyond the dead band. In the quasi-steady state, within the reserve and without a dead
band, f = p / (D + 1/R).

Sources: Kundur, Power System Stability and Control (1994), chapter 11 (speed governing, composite regulating
characteristic of a system); ENTSO-E Operation Handbook of Continental Europe, policy 1 and its appendix (network power
frequency characteristic, reference incident of 3,000 MW). Nothing here restores the nominal frequency: no secondary
control, no load shedding, no protection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from peerwatt.errors import Fault, InputError
from peerwatt.grid.admittance import Floats

__all__ = [
    "FrequencyModel",
    "StepResponse",
    "extreme_deviation_hz",
    "initial_rocof_hz_per_s",
    "steady_deviation_hz",
    "step_response",
]

_SETTLED = 25.0  # of the slowest time constant; what is left is e^-25
_RTOL, _ATOL = 1e-7, 1e-10  # pu

_Rates = Callable[[float, Floats], list[float]]


@dataclass(frozen=True, slots=True)
class FrequencyModel:
    """A synchronous system. As it stands: 500 MW of thermal plants, the size of an island's, where 20 MW matter.

    Attributes:
        system_mw: load of the system, and rated power of the plants that run; base of all that is in pu.
        nominal_hz: nominal frequency.
        inertia_s: inertia constant H: kinetic energy at nominal speed over `system_mw`.
        damping: D: share of the load that goes per share of the frequency (1: 1 percent per percent).
        droop_percent: R: deviation of the frequency, percent, that calls all of `system_mw`.
        governor_s: time constant T of governors and turbines together.
        governor_deadband_hz: deviation up to which governors do nothing; beyond it they see the rest.
        reserve_mw: most primary control power, in either direction; may be infinite.
    """

    system_mw: float = 500.0
    nominal_hz: float = 50.0
    inertia_s: float = 4.0
    damping: float = 1.0
    droop_percent: float = 5.0
    governor_s: float = 2.0
    governor_deadband_hz: float = 0.01
    reserve_mw: float = 50.0

    def __post_init__(self) -> None:
        """Refuse what is not physical.

        Raises:
            InputError: with every such value.
        """
        positive = ("system_mw", "nominal_hz", "inertia_s", "damping", "droop_percent", "governor_s")
        given = {name: getattr(self, name) for name in (*positive, "governor_deadband_hz", "reserve_mw")}
        faults = [
            Fault(f"frequency model: {name}", f"is {value:g}", "give a finite number above 0")
            for name, value in given.items()
            if name in positive and not 0.0 < value < math.inf
        ]
        if not 0.0 <= self.governor_deadband_hz < math.inf:
            problem = f"is {self.governor_deadband_hz:g}"
            faults.append(Fault("frequency model: governor_deadband_hz", problem, "give 0 or more"))
        if not self.reserve_mw >= 0.0:
            faults.append(Fault("frequency model: reserve_mw", f"is {self.reserve_mw:g}", "give 0 or more"))
        if faults:
            raise InputError(faults)

    @property
    def load_mw_per_hz(self) -> float:
        """What loads take more per Hz (self-regulation)."""
        return self.damping * self.system_mw / self.nominal_hz

    @property
    def primary_mw_per_hz(self) -> float:
        """What primary control gives per Hz beyond its dead band, until the reserve is used up."""
        return 100.0 / self.droop_percent * self.system_mw / self.nominal_hz

    def primary_mw(self, deviation_hz: ArrayLike) -> Floats:
        """Primary control power that a deviation calls for, in the shape of the deviations."""
        deviation = np.asarray(deviation_hz, dtype=float)
        beyond = deviation - np.clip(deviation, -self.governor_deadband_hz, self.governor_deadband_hz)
        called: Floats = np.clip(-self.primary_mw_per_hz * beyond, -self.reserve_mw, self.reserve_mw)
        return called


@dataclass(frozen=True, slots=True)
class StepResponse:
    """The time course after a step of the imbalance; arrays (n_times,).

    Attributes:
        time_s: time since the step.
        deviation_hz: frequency less the nominal one.
        primary_mw: primary control power.
    """

    time_s: Floats
    deviation_hz: Floats
    primary_mw: Floats


def steady_deviation_hz(model: FrequencyModel, imbalance_mw: ArrayLike) -> Floats:
    """Deviation once primary control has acted and nothing else has.

    Args:
        model: the system.
        imbalance_mw: generation less load before any of them reacts, in any shape.

    Returns:
        In the shape of the imbalances, of their sign, and strictly rising in them.
    """
    imbalance = np.asarray(imbalance_mw, dtype=float)
    size, load, primary = np.abs(imbalance), model.load_mw_per_hz, model.primary_mw_per_hz
    by_load = size / load
    with_primary = (size + primary * model.governor_deadband_hz) / (load + primary)
    used_up = (size - model.reserve_mw) / load
    # Of these three lines the first holds within the dead band, the last where the reserve is used up.
    result: Floats = np.sign(imbalance) * np.minimum(by_load, np.maximum(with_primary, used_up))
    return result


def initial_rocof_hz_per_s(model: FrequencyModel, imbalance_mw: ArrayLike) -> Floats:
    """Rate of change of frequency right after a step of the imbalance, before anything reacts: f0 dP / (2 H S).

    Args:
        model: the system.
        imbalance_mw: the steps, in any shape.
    """
    rate: Floats = model.nominal_hz * np.asarray(imbalance_mw, dtype=float) / (2.0 * model.inertia_s * model.system_mw)
    return rate


def step_response(
    model: FrequencyModel, imbalance_mw: float, time_s: ArrayLike, *, before_mw: float = 0.0
) -> StepResponse:
    """The time course after a step of the imbalance.

    Args:
        model: the system.
        imbalance_mw: the imbalance from time 0 on.
        time_s: when to look, (n_times,), rising and not negative.
        before_mw: the imbalance before, with which the system had come to rest.

    Raises:
        InputError: times are negative or do not rise.
    """
    from scipy.integrate import solve_ivp

    times = np.atleast_1d(np.asarray(time_s, dtype=float))
    if times.size == 0 or not (np.isfinite(times).all() and times[0] >= 0.0 and (np.diff(times) > 0.0).all()):
        raise InputError(Fault("time_s", "not a rising series of times from 0 on", "give seconds since the step"))
    span = (0.0, max(float(times[-1]), model.governor_s))
    start, rates = _at_rest(model, before_mw), _rates(model, imbalance_mw)
    solved = solve_ivp(rates, span, start, method="LSODA", t_eval=times, rtol=_RTOL, atol=_ATOL)
    return StepResponse(times, solved.y[0] * model.nominal_hz, solved.y[1] * model.system_mw)


def extreme_deviation_hz(model: FrequencyModel, imbalance_mw: ArrayLike, before_mw: ArrayLike = 0.0) -> Floats:
    """The deviation furthest from 0 from a step on: the nadir where generation is missing, else the zenith.

    Args:
        model: the system.
        imbalance_mw: imbalances from the step on, in any shape; each is integrated on its own.
        before_mw: imbalances before, with which the system had come to rest; of a shape that broadcasts.

    Returns:
        In the shape to which both broadcast. The deviation at the step itself counts.
    """
    after, before = np.broadcast_arrays(np.asarray(imbalance_mw, dtype=float), np.asarray(before_mw, dtype=float))
    found = [_extreme_hz(model, float(p), float(b)) for p, b in zip(after.flat, before.flat, strict=True)]
    return np.array(found, dtype=float).reshape(after.shape)


def _extreme_hz(model: FrequencyModel, imbalance_mw: float, before_mw: float) -> float:
    """The deviation furthest from 0 after one step."""
    from scipy.integrate import solve_ivp

    start, rates = _at_rest(model, before_mw), _rates(model, imbalance_mw)

    def turns(time: float, state: Floats) -> float:
        return rates(time, state)[0]

    # Swings only shrink (a damped oscillator whose restoring power rises with the deviation), so one turn on
    # either side of the final value is all that can be furthest.
    event: Any = turns
    event.terminal = 2
    slowest = max(2.0 * model.inertia_s / model.damping, model.governor_s)
    span = (0.0, _SETTLED * slowest)
    solved = solve_ivp(rates, span, start, method="LSODA", events=event, rtol=_RTOL, atol=_ATOL)
    ends = steady_deviation_hz(model, [before_mw, imbalance_mw])
    turned = [state[0] * model.nominal_hz for states in solved.y_events or () for state in states]
    return float(max([*ends, *turned], key=abs))


def _rates(model: FrequencyModel, imbalance_mw: float) -> _Rates:
    """The two equations of the module, in pu."""
    p, r = _per_unit(model, imbalance_mw), model.reserve_mw / model.system_mw
    gain, dead = 100.0 / model.droop_percent, model.governor_deadband_hz / model.nominal_hz
    inertia, damping, lag = 2.0 * model.inertia_s, model.damping, model.governor_s

    def rates(_time: float, state: Floats) -> list[float]:
        f, m = float(state[0]), float(state[1])  # in plain numbers, several times quicker than arrays of one
        called = -gain * (f - min(max(f, -dead), dead))
        return [(p + m - damping * f) / inertia, (min(max(called, -r), r) - m) / lag]

    return rates


def _at_rest(model: FrequencyModel, imbalance_mw: float) -> list[float]:
    """Deviation and primary power in the quasi-steady state, pu."""
    deviation = steady_deviation_hz(model, _per_unit(model, imbalance_mw) * model.system_mw)
    return [float(deviation) / model.nominal_hz, float(model.primary_mw(deviation)) / model.system_mw]


def _per_unit(model: FrequencyModel, imbalance_mw: float) -> float:
    """An imbalance in pu, rounded: the integrator's interpolation fails on numbers that are hardly above 0."""
    return round(imbalance_mw / model.system_mw, 12)
