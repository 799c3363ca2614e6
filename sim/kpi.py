"""Key figures of a run: the one place where they are defined.

Stage ``delivery`` throughout, except for trading. Net power of a peer is measured at its connection;
periods whose power flow did not converge have no grid state and are left out of the grid's figures.

| key | meaning |
|---|---|
| ``p2p_volume_mwh`` | energy traded between peers |
| ``p2p_mean_price_eur_per_mwh`` | mean price that sellers get, weighted by volume |
| ``p2p_buyer_mean_price_eur_per_mwh`` | mean price that buyers pay, weighted by volume, network fee apart |
| ``p2p_surplus_eur`` | what buyers pay and sellers do not get: kept by who runs the market |
| ``p2p_share_of_demand_percent`` | traded energy as a share of ``demand_mwh`` |
| ``social_welfare_eur`` | gain of all market clearings over the supplier alone, by the bids |
| ``demand_mwh``, ``feed_in_mwh`` | net consumption and net feed-in of peers, summed over peers and periods |
| ``consumption_mwh``, ``generation_mwh`` | what loads used and generators gave, behind the meter included |
| ``curtailed_mwh`` | generation that was there, and that an activation or an order of the DSO kept from being used |
| ``self_sufficiency_percent`` | share of ``consumption_mwh`` drawn neither from outside nor from the initial charge |
| ``self_consumption_percent`` | share of what was there, generated or curtailed, neither fed out nor stored |
| ``stored_initial_mwh``, ``stored_final_mwh`` | energy in the batteries at the start and at the end |
| ``stored_change_mwh`` | by how much more there is at the end |
| ``stored_change_eur`` | its worth at the feed-in price, which is part of no cost and of no saving |
| ``battery_losses_mwh`` | what batteries lost by conversion and self-discharge; used, for self-consumption |
| ``import_mwh``, ``export_mwh`` | energy from and to the external grid |
| ``peak_import_mw``, ``peak_import_period`` | highest power from the external grid; period in which it occurred |
| ``peak_import_storage_mw`` | power of all batteries in that period, positive when they discharge (needs ``agent``) |
| ``losses_mwh`` | losses of lines and transformers |
| ``losses_percent`` | losses as a share of the consumption in the same (converged) periods |
| ``min_vm_pu``, ``max_vm_pu`` | lowest and highest voltage |
| ``min_vm_period``, ``max_vm_period`` | period in which it occurred |
| ``min_vm_bus``, ``max_vm_bus`` | index of the bus where it occurred (needs table ``bus``) |
| ``max_loading_percent`` | highest loading of a line or transformer, of its rating |
| ``max_occupancy_percent`` | highest loading of a line or transformer, of its limit |
| ``max_occupancy_period`` | period in which it occurred |
| ``max_loading_period`` | period in which it occurred |
| ``max_loading_element`` | where it occurred, e.g. ``line 12`` (needs ``line`` and ``trafo``) |
| ``voltage_violations`` | buses outside their band, summed over periods |
| ``congestion_violations`` | lines and transformers above their limit, summed over periods |
| ``unsupplied_peer_periods`` | peers without a way to an external grid, summed over periods (needs ``bus``) |
| ``not_converged``, ``not_converged_<stage>`` | power flows without a solution, of all stages and of each |
| ``periods`` | periods that were done |
| ``<market>_<status>_periods`` | periods in which it ended ``infeasible``, ``not_converged`` (`peerwatt.sim.status`) |
| ``cost_<group>_eur`` | payments less the value of the consumption that trading added |
| ``reference_cost_<group>_eur`` | the same without any trading between peers |
| ``saving_<group>_eur``, ``saving_<group>_percent`` | reference cost less cost; its share |
| ``n_<group>`` | number of peers in the group |
| ``saving_min_eur``, ``saving_max_eur`` | saving of the worst and the best placed peer |
| ``saving_per_peer_<strategy>_eur`` | mean saving of the peers of a trading strategy |
| ``saving_per_peer_adopters_eur`` | mean saving of all peers but those of the strategy ``control`` |
| ``saving_gini`` | inequality of savings among peers, 0 (equal) to 1 |
| ``messages``, ``messages_lost`` | messages sent; lost ones (needs table ``message``) |
| ``congested_lines_<stage>`` | lines and transformers above their limit before delivery, summed over periods |
| ``overflow_sum_<stage>_mw`` | flow above the limit, summed over congested lines, mean over periods |
| ``overflow_weighted_<stage>_mw`` | mean of it over congested lines, weighted by capacity; mean over periods |
| ``overflow_weighted_<stage>_percent`` | the same of their loading above the limit, in percent of their rating |
| ``voltage_violations_<stage>`` | buses outside their band before delivery, summed over periods |
| ``rounds_mean`` | rounds of negotiation per period |
| ``limits_unmet_periods`` | periods in which an iterative scheme ended with a limit violated |
| ``regulation_requested_mwh`` | virtual load that the TSO asked for, either way (needs ``regulation``) |
| ``regulation_accepted_mwh``, ``regulation_provided_mwh`` | what was traded with it; what that moved |
| ``lines_at_risk_mean`` | lines and transformers that the DSO's signals protect, mean over rounds |
| ``blocked_pairs_mean`` | ordered pairs of peers that must not trade, mean over rounds |
| ``incentives_eur`` | what the DSO paid less what it collected for trades by its signals, fees apart |
| ``lfm_cost_eur`` | what the flexibility market costs the DSO, if all is delivered |
| ``lfm_volume_mwh`` | flexibility activated, up and down |
| ``lfm_runs`` | periods in which the DSO needed the flexibility market |
| ``lfm_infeasible_percent`` | share of all periods in which it had a result and AC still found a limit violated |
| ``lfm_missing_mwh``, ``lfm_missing_max_mw`` | overflow that it left by AC, its energy and its highest value |
| ``lfm_missing_max_pu`` | how far outside its band it left a voltage at most |
| ``capacity_traded_mean_mw`` | capacity that peers provide at the DSO's request (CM5), mean over periods |
| ``capacity_periods`` | periods in which the DSO asked for capacity |
| ``capacity_missing_mean_mw``, ``capacity_missing_max_mw`` | requested capacity that nobody provided |
| ``flexibility_paid_eur`` | what the DSO paid for flexibility that was delivered (needs ``settlement``) |
| ``money_<role>_eur`` | received less paid: peers, supplier, DSO, TSO, market, resources outside |
| ``messages_<role>_to_<role>`` | messages that arrived (needs ``message``) |
| ``numbers_<role>_to_<role>`` | numbers in them: what was disclosed, see ``peerwatt.sim.kpi_disclosure`` |

D5.3, Table 7, has these: cost of the LFM, ``lfm_cost_eur``; before the LFM ``congested_lines_p2p``,
``overflow_sum_p2p_mw`` and ``overflow_weighted_p2p_mw``; traded volume, ``p2p_volume_mwh``. Figures with ``lfm``
and of stage ``final`` are there only with a flexibility market. The welfare of the peers is ``cost_peers_eur`` with the
sign turned, of every other role its money.

``<stage>`` is ``forecast``, ``p2p`` or ``final``. ``<role>`` is ``peers``, ``supplier``, ``dso``, ``outside``; for
money ``market`` (who runs it); for messages ``mediator``, ``p2p_market`` and ``fmo``. ``<group>`` is ``consumers``,
``producers``, ``prosumers``, or ``peers`` for all of them. ``<market>`` is ``market``, ``lfm`` or ``capacity``. A
figure whose table was not recorded, or that has no meaning (a share of nothing), is missing.

**Periods without a result.** Where the market is not cleared nobody trades: volume, welfare (the gain over no trading)
and savings count nothing, and the supplier bills everything; the mean price is one of trades. Where nothing could be
activated or provided, ``lfm_cost_eur``, ``lfm_volume_mwh`` and the means of capacity count nothing; ``lfm_missing_...``
counts what is known. Where the power flow of stage ``delivery`` has no solution, meters say what peers draw at 1 pu,
which is in ``demand_mwh``, ``consumption_mwh`` and all money; losses are in no bill; import, export, losses and
violations are sums over the other periods, ``losses_percent`` has the consumption of these, and voltages and loadings
are extremes of these. Figures of another stage are sums and means over the periods in which its power flow has a
solution. Without any such period a figure is missing. ``..._periods`` and ``not_converged_<stage>`` say how many are
not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from peerwatt.agents.population import VIRTUAL_LOAD
from peerwatt.sim.columns import at_stage, codes, numbers
from peerwatt.sim.kpi_disclosure import disclosure_figures
from peerwatt.sim.kpi_market import coordination_figures, money_figures
from peerwatt.sim.kpi_storage import Stored
from peerwatt.sim.kpi_strategy import strategy_figures
from peerwatt.sim.status import status_figures
from peerwatt.sim.tables import Stage

__all__ = ["COLUMNS", "GROUPS", "Kpi", "compute_kpis"]

Kpi = float | int | str
"""Value of one key figure."""

COLUMNS: dict[str, list[str] | None] = {
    "period": None,
    "agent": None,
    "peer": None,
    "bus": ["period", "stage", "bus", "vm_pu"],
    "line": ["period", "stage", "line", "loading_percent"],
    "trafo": ["period", "stage", "trafo", "loading_percent"],
    "round": ["n_at_risk", "n_blocked"],
    "regulation": ["requested_mw", "accepted_mw", "provided_mw"],
    "trade": ["period"],
    "settlement": ["payer", "payee", "reason", "amount_eur"],
    "message": ["period", "kind", "sender", "receiver", "delivered_s", "n"],
}
"""What `compute_kpis` reads: tables, and the columns of them that it needs (None: all)."""

GROUPS = {"consumer": "consumers", "producer": "producers", "prosumer": "prosumers"}
"""Group of peers that a figure's name ends in, by kind of peer."""

Floats = NDArray[np.float64]


def compute_kpis(tables: Mapping[str, pa.Table], manifest: Mapping[str, Any]) -> dict[str, Kpi]:
    """Compute every key figure that the given tables allow.

    Args:
        tables: the recorded tables by name, with the schemas of ``peerwatt.sim.tables``.
        manifest: the run's manifest; ``period_s`` is read.

    Returns:
        The figures by name, as plain numbers and texts that JSON can hold.
    """
    hours = float(manifest["period_s"]) / 3600.0
    tables = _without_virtual_load(tables)
    figures: dict[str, Kpi] = {}
    if "period" in tables:
        figures |= _market(tables["period"]) | status_figures(tables["period"])
    if "agent" in tables:
        stored = Stored.of(tables["agent"], tables.get("peer"), hours)
        figures |= _energy(tables["agent"], stored, hours)
        figures |= stored.figures(manifest.get("feed_in_eur_per_mwh"))
        figures |= _share("p2p_share_of_demand_percent", figures.get("p2p_volume_mwh"), figures["demand_mwh"])
    if "period" in tables:
        figures |= _exchange(tables, hours)
        figures |= _limits(tables)
        figures |= coordination_figures(tables, hours)
    if "agent" in tables and "peer" in tables:
        figures |= _money(tables["agent"], tables["peer"])
    if "settlement" in tables and "peer" in tables:
        figures |= money_figures(tables["settlement"], tables["peer"])
    if "message" in tables and "peer" in tables:
        figures |= disclosure_figures(tables)
    return figures | _traffic(tables)


def _without_virtual_load(tables: Mapping[str, pa.Table]) -> Mapping[str, pa.Table]:
    """The tables without the TSO's virtual load, which is no peer to any figure."""
    peer = tables.get("peer")
    if peer is None or VIRTUAL_LOAD not in pc.unique(peer["kind"]).to_pylist():
        return tables
    name = peer.filter(pc.equal(peer["kind"], VIRTUAL_LOAD))["agent"].cast(pa.string())
    own = {}
    for each in ("peer", "agent"):
        if each in tables:
            agent = tables[each]["agent"].cast(pa.string())
            rows = tables[each].set_column(tables[each].column_names.index("agent"), "agent", agent)
            own[each] = rows.filter(pc.invert(pc.is_in(agent, name)))
    return {**tables, **own}


def _market(period: pa.Table) -> dict[str, Kpi]:
    rows = at_stage(period, Stage.P2P)
    if rows.num_rows == 0:
        return {}
    volume = np.nan_to_num(numbers(rows, "p2p_volume_mwh"))
    total = float(volume.sum())
    figures: dict[str, Kpi] = {"p2p_volume_mwh": total}
    if total > 0.0:
        for side in ("", "buyer_"):
            price = np.nan_to_num(numbers(rows, f"p2p_{side}price_eur_per_mwh"))
            figures[f"p2p_{side}mean_price_eur_per_mwh"] = float(volume @ price) / total
    figures["p2p_surplus_eur"] = float(np.nansum(numbers(rows, "p2p_surplus_eur")))
    figures["social_welfare_eur"] = float(np.nansum(numbers(rows, "social_welfare_eur")))
    return figures


def _net_energy(agent: pa.Table, hours: float) -> tuple[Floats, Floats]:
    """Net consumption and net feed-in of all peers in MWh, each of shape (n_periods,)."""
    period = numbers(agent, "period").astype(np.intp)
    p_mw = np.nan_to_num(numbers(agent, "p_mw"))
    demand = np.bincount(period, weights=np.maximum(-p_mw, 0.0)) * hours
    feed_in = np.bincount(period, weights=np.maximum(p_mw, 0.0)) * hours
    return np.asarray(demand, dtype=np.float64), np.asarray(feed_in, dtype=np.float64)


def _energy(agent: pa.Table, stored: Stored, hours: float) -> dict[str, Kpi]:
    demand, feed_in = _net_energy(agent, hours)
    drawn, fed_out = np.maximum(demand - feed_in, 0.0).sum(), np.maximum(feed_in - demand, 0.0).sum()
    measured = ("p_load_mw", "p_generation_mw", "p_curtailed_mw")
    used, given, curtailed = (float(np.nansum(numbers(agent, name)) * hours) for name in measured)
    figures: dict[str, Kpi] = {"demand_mwh": float(demand.sum()), "feed_in_mwh": float(feed_in.sum())}
    figures |= {"consumption_mwh": used, "generation_mwh": given, "curtailed_mwh": curtailed}
    figures |= _share("self_sufficiency_percent", max(used - drawn - stored.emptied_mwh, 0.0), used)
    own = max(given - fed_out - stored.filled_mwh, 0.0)
    return figures | _share("self_consumption_percent", own, given + curtailed)


def _share(name: str, part: Kpi | None, whole: Kpi) -> dict[str, Kpi]:
    """The part as percent of the whole's size; nothing where there is no whole."""
    if part is None or abs(float(whole)) < 1e-12:
        return {}
    return {name: 100.0 * float(part) / abs(float(whole))}


def _exchange(tables: Mapping[str, pa.Table], hours: float) -> dict[str, Kpi]:
    rows = at_stage(tables["period"], Stage.DELIVERY)
    slack = numbers(rows, "slack_p_mw")
    known = np.isfinite(slack)
    if not known.any():
        return {}
    losses = numbers(rows, "losses_mw")
    figures: dict[str, Kpi] = {
        "import_mwh": float(np.maximum(slack[known], 0.0).sum() * hours),
        "export_mwh": float(np.maximum(-slack[known], 0.0).sum() * hours),
        "peak_import_mw": float(np.maximum(slack[known], 0.0).max()),
        "losses_mwh": float(np.nansum(losses) * hours),
    }
    peak = int(numbers(rows, "period")[np.nanargmax(slack)])
    figures["peak_import_period"] = peak
    if "agent" in tables:
        agent, solved = tables["agent"], numbers(rows, "period")[np.isfinite(losses)]
        used = np.nan_to_num(numbers(agent, "p_load_mw")[np.isin(numbers(agent, "period"), solved)])
        figures |= _share("losses_percent", figures["losses_mwh"], float(used.sum()) * hours)
        then = numbers(agent, "period") == peak
        figures["peak_import_storage_mw"] = float(np.nansum(numbers(agent, "p_storage_mw")[then]))
    return figures


def _limits(tables: Mapping[str, pa.Table]) -> dict[str, Kpi]:
    rows = at_stage(tables["period"], Stage.DELIVERY)
    figures: dict[str, Kpi] = {}
    if not (numbers(rows, "converged") > 0.0).any():
        return figures
    figures["voltage_violations"] = int(np.nansum(numbers(rows, "n_voltage_violations")))
    figures["congestion_violations"] = int(np.nansum(numbers(rows, "n_congested_lines")))
    figures |= _extreme(rows, "min_vm_pu", "min_vm_period", sign=-1.0)
    figures |= _extreme(rows, "max_vm_pu", "max_vm_period", sign=1.0)
    figures |= _extreme(rows, "max_loading_percent", "max_loading_period", sign=1.0)
    figures |= _extreme(rows, "max_occupancy_percent", "max_occupancy_period", sign=1.0)
    if "bus" in tables:
        buses = at_stage(tables["bus"], Stage.DELIVERY)
        for name, sign in (("min_vm_bus", -1.0), ("max_vm_bus", 1.0)):
            if (row := _argmax(sign * numbers(buses, "vm_pu"))) is not None:
                figures[name] = int(buses.column("bus")[row].as_py())
        if "peer" in tables:
            figures["unsupplied_peer_periods"] = _unsupplied(rows, buses, tables["peer"])
    if "line" in tables and "trafo" in tables and "max_loading_percent" in figures:
        figures |= _most_loaded(tables)
    return figures


def _unsupplied(period: pa.Table, bus: pa.Table, peer: pa.Table) -> int:
    """Peers at buses that have no voltage in periods whose power flow has a solution, summed over these periods."""
    solved = numbers(period, "period")[numbers(period, "converged") == 1.0]
    dead = np.isin(numbers(bus, "period"), solved) & ~np.isfinite(numbers(bus, "vm_pu"))
    where, count = np.unique(numbers(peer, "bus"), return_counts=True)
    at, times = np.unique(numbers(bus, "bus")[dead], return_counts=True)
    _, peers, buses = np.intersect1d(where, at, assume_unique=True, return_indices=True)
    return int(count[peers] @ times[buses])


def _argmax(values: Floats) -> int | None:
    return int(np.nanargmax(values)) if np.isfinite(values).any() else None


def _extreme(rows: pa.Table, column: str, period: str, *, sign: float) -> dict[str, Kpi]:
    values = numbers(rows, column)
    row = _argmax(sign * values)
    return {} if row is None else {column: float(values[row]), period: int(rows.column("period")[row].as_py())}


def _most_loaded(tables: Mapping[str, pa.Table]) -> dict[str, Kpi]:
    best: tuple[float, str] | None = None
    for name in ("line", "trafo"):
        rows = at_stage(tables[name], Stage.DELIVERY)
        loading = numbers(rows, "loading_percent")
        row = _argmax(loading)
        if row is not None and (best is None or loading[row] > best[0]):
            best = (float(loading[row]), f"{name} {rows.column(name)[row].as_py()}")
    return {} if best is None else {"max_loading_element": best[1]}


def _money(agent: pa.Table, peer: pa.Table) -> dict[str, Kpi]:
    row, names = codes(agent, "agent")
    kinds = dict(zip(peer.column("agent").to_pylist(), peer.column("kind").to_pylist(), strict=True))
    group = np.array([GROUPS.get(kinds.get(name, ""), "") for name in names], dtype=object)

    def total(column: str) -> Floats:  # (n_agents,)
        values = np.nan_to_num(numbers(agent, column))
        return np.bincount(row, weights=values, minlength=len(names)).astype(np.float64)

    cost = total("payment_eur") - total("utility_eur")
    reference = total("reference_payment_eur")
    figures: dict[str, Kpi] = {}
    for name in (*GROUPS.values(), "peers"):
        member = np.ones(len(names), dtype=bool) if name == "peers" else group == name
        figures[f"n_{name}"] = int(member.sum())
        if member.any():
            figures |= _group_cost(name, float(cost[member].sum()), float(reference[member].sum()))
    followed = dict(zip(peer.column("agent").to_pylist(), peer.column("strategy").to_pylist(), strict=True))
    figures |= strategy_figures(reference - cost, [followed.get(name, "") for name in names])
    return figures | _fairness(reference - cost)


def _group_cost(name: str, cost: float, reference: float) -> dict[str, Kpi]:
    saving = reference - cost
    figures: dict[str, Kpi] = {
        f"cost_{name}_eur": cost,
        f"reference_cost_{name}_eur": reference,
        f"saving_{name}_eur": saving,
    }
    return figures | _share(f"saving_{name}_percent", saving, reference)


def _fairness(saving: Floats) -> dict[str, Kpi]:
    """Spread of the savings over peers, shape (n_agents,).

    The Gini coefficient is normalised by the mean absolute value, so that it stays within [0, 1] when some
    peers lose (Raffinetti, Siletti and Vernizzi, 2015); without losers it is the usual one.
    """
    if saving.size == 0:
        return {}
    figures: dict[str, Kpi] = {"saving_min_eur": float(saving.min()), "saving_max_eur": float(saving.max())}
    size = float(np.abs(saving).sum())
    if size > 1e-9:
        ordered = np.sort(saving)
        rank = 2.0 * np.arange(1, saving.size + 1) - saving.size - 1.0
        figures["saving_gini"] = float(rank @ ordered) / (saving.size * size)
    return figures


def _traffic(tables: Mapping[str, pa.Table]) -> dict[str, Kpi]:
    if "message" in tables:
        count = numbers(tables["message"], "n")
        lost = np.isnan(numbers(tables["message"], "delivered_s"))
        return {"messages": int(count.sum()), "messages_lost": int(count[lost].sum())}
    if "period" in tables:
        return {"messages": int(np.nansum(numbers(tables["period"], "messages")))}
    return {}
