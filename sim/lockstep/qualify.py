"""Which scenarios' replicas can run in lockstep: those in which nothing that a power flow says changes a decision.

Then all periods can be traded first, and the power flows of a stage are one batch. What this module does not know of,
such as a setting that came later, runs one by one.
"""

from __future__ import annotations

from peerwatt.agents.coordination import Service
from peerwatt.agents.settings import Settings
from peerwatt.agents.timetable import Timetable
from peerwatt.market.negotiation import Negotiating
from peerwatt.sim.scenario import Scenario

__all__ = ["obstacle"]

_KNOWN: dict[str, frozenset[str]] = {
    "grid": frozenset(
        [
            "case",
            "profiles",
            "engine",
            "min_vm_pu",
            "max_vm_pu",
            "max_loading_percent",
            "line_capacity_factor",
            "line_impedance_factor",
            "trafo_capacity_factor",
            "on_divergence",
        ]
    ),
    "time": frozenset(("start", "periods", "period_s")),
    "population": frozenset(
        [
            "size",
            "pv_share",
            "pv_mw",
            "storage_share",
            "storage_mwh",
            "storage_mw",
            "storage_efficiency",
            "storage_self_discharge_per_day",
            "storage_initial_charge",
            "storage_return_h",
            "ev_share",
            "ev_mw",
            "demand_response",
            "peer_of",
            "strategies",
            "peers",
        ]
    ),
    "market": frozenset(("mechanism", "options", "conduct", "conduct_options")),
    "coordination": frozenset(
        [
            "preset",
            "product",
            "service",
            "scheme",
            "scheme_options",
            "addresses",
            "rounds",
            "lfm",
            "sequence",
            "cycles",
            "p2p_area",
            "lfm_area",
        ]
    ),
    "tariff": frozenset(
        [
            "supply_eur_per_mwh",
            "feed_in_eur_per_mwh",
            "network_fee_eur_per_mwh",
            "imbalance_short_eur_per_mwh",
            "imbalance_long_eur_per_mwh",
            "losses_eur_per_mwh",
        ]
    ),
    "forecast": frozenset(
        f"{what}_{key}"
        for what in ("load", "generation")
        for key in ("error", "spatial_correlation", "correlation_time_h")
    ),
    "communication": frozenset(("fidelity", "latency_s", "jitter_s", "loss")),
}
"""Settings that are looked after, by section."""

_FREE = frozenset(("name", "description", "plugins", "flexibility", "record", "seed", "events"))
"""Keys at the top that may be anything, or that have a check of their own."""


def obstacle(scenario: Scenario) -> str:
    """Why the replicas of a scenario cannot run in lockstep, as a sentence; empty if they can.

    A strategy that looks at voltages or loadings is only found out when it runs, and then raises a `LockstepError`.
    """
    return _of_design(scenario) or _of_communication(scenario) or _of_the_rest(scenario)


def _of_design(scenario: Scenario) -> str:
    design, mechanism = scenario.design(), scenario.build_mechanism()
    if design.service is Service.EXPLICIT:
        return "capacity is traded for what the power flow shows (coordination.service: explicit)"
    if design.scheme is not None:
        return f"the DSO's signals follow from the power flow (coordination.scheme: {design.scheme})"
    if design.lfm:
        return "the flexibility market follows from the power flow (coordination.lfm)"
    if design.p2p_area is not None:
        return "only a part of the peers trades (coordination.p2p_area)"
    if isinstance(mechanism, Negotiating):
        return f"peers negotiate by messages (market.mechanism: {scenario.mechanism})"
    return ""


def _of_communication(scenario: Scenario) -> str:
    link = scenario.communication
    timetable = Timetable.of(scenario.design(), scenario.time.period_s)
    round_, slowest = timetable.rounds[0], link.latency_s + link.jitter_s
    if link.loss:
        return "messages get lost (communication.loss above 0)"
    if not (round_.call_s + 2 * slowest < round_.gate_s and round_.gate_s + slowest < timetable.delivery_s):
        return "messages come too late to count (communication.latency_s, jitter_s)"
    return ""


def _of_the_rest(scenario: Scenario) -> str:
    if scenario.events:
        return "something happens on the way (events)"
    usual = Scenario()
    for name in type(scenario).model_fields:
        own = getattr(scenario, name)
        if name in _FREE or own == getattr(usual, name):
            continue
        if not (isinstance(own, Settings) and name in _KNOWN):
            return f"lockstep does not know '{name}'"
        for key in type(own).model_fields:
            if key not in _KNOWN[name] and getattr(own, key) != getattr(getattr(usual, name), key):
                return f"lockstep does not know '{name}.{key}'"
    return ""
