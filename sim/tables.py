"""The tables that a run leaves behind: their columns, types and units (design, section 5).

Every table is an Arrow schema whose fields carry their unit and meaning as metadata, so that the Parquet
files explain themselves. Key columns come first. Power and energy are positive when fed into the grid;
prices are positive when the buyer pays.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

__all__ = ["STAGES", "TABLES", "Stage", "keys", "unit"]


class Stage(StrEnum):
    """The points inside a period at which the grid is evaluated."""

    FORECAST = "forecast"
    P2P = "p2p"
    FINAL = "final"
    DELIVERY = "delivery"


STAGES = tuple(Stage)

_NAME = pa.dictionary(pa.int32(), pa.string())


def _key(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"key": "1", "meaning": meaning})


def _value(name: str, unit: str, meaning: str, kind: pa.DataType | None = None) -> pa.Field:
    return pa.field(name, kind or pa.float64(), metadata={"unit": unit, "meaning": meaning})


_PERIOD = _key("period", pa.int32(), "number of the market period, from 0")
_STAGE = _key("stage", _NAME, "forecast, p2p, final or delivery")


def _branch(name: str) -> pa.Schema:
    return pa.schema(
        [
            _PERIOD,
            _STAGE,
            _key(name, pa.int64(), f"index of the {name} in network.json"),
            _value("p_from_mw", "MW", "active power that enters at the from (high-voltage) side"),
            _value("q_from_mvar", "Mvar", "reactive power that enters at the from (high-voltage) side"),
            _value("i_ka", "kA", "largest current of both ends, at the voltage of that end"),
            _value("loading_percent", "%", "current as a share of the rating"),
            _value("pl_mw", "MW", "active losses"),
        ]
    )


TABLES: dict[str, pa.Schema] = {
    "period": pa.schema(
        [
            _PERIOD,
            _STAGE,
            _value("converged", "", "whether the power flow has a solution", pa.bool_()),
            _value("reason", "", "why it has none", pa.string()),
            _value("slack_p_mw", "MW", "power drawn from the external grid"),
            _value("losses_mw", "MW", "losses of lines and transformers"),
            _value("n_congested_lines", "", "lines and transformers above their limit", pa.int32()),
            _value("overflow_sum_mw", "MW", "flow above the limit, summed over congested lines"),
            _value("overflow_weighted_mean", "%", "loading above the limit of congested lines, weighted by capacity"),
            _value("overflow_weighted_mw", "MW", "flow above the limit of congested lines, weighted by capacity"),
            _value("n_voltage_violations", "", "buses outside their voltage band", pa.int32()),
            _value("min_vm_pu", "pu", "lowest voltage"),
            _value("max_vm_pu", "pu", "highest voltage"),
            _value("max_loading_percent", "%", "highest loading of a line or transformer, of its rating"),
            _value("max_occupancy_percent", "%", "highest loading of a line or transformer, of its limit"),
            _value("p2p_volume_mwh", "MWh", "energy traded between peers (rows of stage p2p)"),
            _value("p2p_price_eur_per_mwh", "EUR/MWh", "mean price that sellers get, weighted by volume (stage p2p)"),
            _value(
                "p2p_buyer_price_eur_per_mwh",
                "EUR/MWh",
                "mean price that buyers pay, weighted by volume, network fee apart (stage p2p)",
            ),
            _value("p2p_surplus_eur", "EUR", "what buyers pay and sellers do not get: the market's (stage p2p)"),
            _value(
                "social_welfare_eur",
                "EUR",
                "gain of trading over the supplier alone, by the bids (stage p2p)",
            ),
            _value("market_status", "", "status of the clearing (stage p2p)", pa.string()),
            _value("iterations", "", "iterations of the clearing (stage p2p)", pa.int32()),
            _value("rounds", "", "rounds of negotiation with the DSO (stage p2p)", pa.int32()),
            _value(
                "limits_met",
                "",
                "whether an iterative scheme ended with all limits held; else with the best state found (stage p2p)",
                pa.bool_(),
            ),
            _value("incentives_eur", "EUR", "what the DSO pays less what it collects by its signals (stage p2p)"),
            _value("lfm_status", "", "status of the last flexibility market (stage final)", pa.string()),
            _value("lfm_volume_mwh", "MWh", "flexibility activated, up and down (stage final)"),
            _value("lfm_cost_eur", "EUR", "what the DSO is to pay for flexibility (stage final)"),
            _value("lfm_missing_mw", "MW", "overflow that the flexibility market has left, by AC (stage final)"),
            _value("lfm_missing_pu", "pu", "how far the worst voltage is then outside its band (stage final)"),
            _value("capacity_status", "", "status of the last round of capacity trading (stage final)", pa.string()),
            _value("capacity_mw", "MW", "capacity that peers provide at the DSO's request (stage final)"),
            _value("capacity_missing_mw", "MW", "requested in the last round, provided by nobody (stage final)"),
            _value("messages", "", "messages sent in the period (rows of the last stage)", pa.int64()),
        ]
    ),
    "bus": pa.schema(
        [
            _PERIOD,
            _STAGE,
            _key("bus", pa.int64(), "index of the bus in network.json"),
            _value("vm_pu", "pu", "voltage magnitude"),
            _value("va_degree", "degree", "voltage angle"),
            _value("p_mw", "MW", "net injection of the units at the bus, at 1 pu"),
            _value(
                "q_mvar",
                "Mvar",
                "net reactive injection at the bus, at 1 pu; of voltage-regulating generators as solved",
            ),
        ]
    ),
    "line": _branch("line"),
    "trafo": _branch("trafo"),
    "bid": pa.schema(
        [
            _PERIOD,
            _key("market", _NAME, "which market"),
            _key("agent", _NAME, "who bids"),
            _key("step", pa.int32(), "number of the step of this agent's bid"),
            _value("p_min_mw", "MW", "lower bound, negative when buying"),
            _value("p_max_mw", "MW", "upper bound, positive when selling"),
            _value("cost_a_eur_per_mw2h", "EUR/MW2h", "quadratic cost coefficient, 0 for a price step"),
            _value("cost_b_eur_per_mwh", "EUR/MWh", "linear cost coefficient; the price of a price step"),
        ]
    ),
    "trade": pa.schema(
        [
            _PERIOD,
            _key("product", _NAME, "energy, or capacity: power that is held for the period"),
            _key("seller", _NAME, "who sells"),
            _key("buyer", _NAME, "who buys"),
            _value("p_mw", "MW", "traded power, positive"),
            _value("price_eur_per_mwh", "EUR/MWh", "price that the seller gets"),
            _value(
                "buyer_price_eur_per_mwh",
                "EUR/MWh",
                "price that the buyer pays, network fee apart; what it is above the seller's the market keeps",
            ),
            _value("fee_eur_per_mwh", "EUR/MWh", "network fee that the buyer pays the DSO"),
            _value("round", "", "negotiation round in which it was closed", pa.int32()),
        ]
    ),
    "round": pa.schema(
        [
            _PERIOD,
            _key("cycle", pa.int32(), "cycle of trading and flexibility"),
            _key("round", pa.int32(), "round of negotiation in the cycle"),
            _value("converged", "", "whether the power flow has a solution", pa.bool_()),
            _value("n_congested_lines", "", "lines and transformers above their limit", pa.int32()),
            _value("overflow_sum_mw", "MW", "flow above the limit, summed over congested lines"),
            _value("n_voltage_violations", "", "buses outside their voltage band", pa.int32()),
            _value("n_at_risk", "", "lines and transformers that signals protect", pa.int32()),
            _value("n_blocked", "", "ordered pairs of peers that must not trade", pa.int64()),
            _value("p2p_volume_mw", "MW", "power traded between peers"),
            _value("residual_mw", "MW", "change of the peers' net trades since the round before"),
            _value("penalty_eur_per_mwh", "EUR/MWh", "penalty of a trade with gamma 1 (iterative schemes)"),
            _value("load_flexibility", "", "largest share of its forecast by which a load is moved"),
            _value("generation_flexibility", "", "share of its forecast that generation need not run"),
            _value("n_reactive", "", "peers that are told to change their reactive power", pa.int32()),
            _value("worst_branch", "", "most loaded line or transformer", _NAME),
            _value("worst_loading_percent", "%", "its loading"),
            _value("worst_bus", "", "index of the bus farthest beyond its voltage band, or nearest to it", pa.int64()),
            _value("worst_vm_pu", "pu", "its voltage"),
        ]
    ),
    "signal": pa.schema(
        [
            _PERIOD,
            _key("cycle", pa.int32(), "cycle of trading and flexibility"),
            _key("round", pa.int32(), "round of negotiation in the cycle"),
            _key("kind", _NAME, "blocking, incentive, fee or weight"),
            _key("seller", _NAME, "who would sell"),
            _key("buyer", _NAME, "who would buy"),
            _value("branch", "", "line or transformer that is the reason for blocking", _NAME),
            _value("seller_cost_eur_per_mwh", "EUR/MWh", "what it costs the seller besides the price"),
            _value("buyer_cost_eur_per_mwh", "EUR/MWh", "what it costs the buyer besides the price"),
        ]
    ),
    "regulation": pa.schema(
        [
            _PERIOD,
            _value("requested_mw", "MW", "virtual load that the TSO asked for, positive for regulation up"),
            _value("accepted_mw", "MW", "what was traded with it"),
            _value("provided_mw", "MW", "by how much that moved the exchange, against the market without the request"),
            _value("price_eur_per_mwh", "EUR/MWh", "limit price of the TSO"),
            _value("refused_branch", "", "line or transformer for whose sake the rest was refused", _NAME),
            _value("refused_bus", "", "index of the bus for whose voltage it was refused", pa.int64()),
            _value("imbalance_mw", "MW", "generation less load of the system before regulation"),
            _value("deviation_hz", "Hz", "quasi-steady deviation of the frequency"),
            _value("deviation_without_hz", "Hz", "what it would have been without regulation"),
            _value("nadir_hz", "Hz", "the deviation furthest from 0 on the way there"),
        ]
    ),
    "flexibility": pa.schema(
        [
            _PERIOD,
            _key("cycle", pa.int32(), "number of the flexibility market, or round of capacity trading, in the period"),
            _key("agent", _NAME, "who offers"),
            _key("bus", pa.int64(), "index of the bus in network.json"),
            _key("product", _NAME, "consume_less, generate_less or consume_more"),
            _value("offered_mw", "MW", "power offered, positive"),
            _value("activated_mw", "MW", "power activated, positive"),
            _value("bid_eur_per_mwh", "EUR/MWh", "what is wanted"),
            _value("paid_eur", "EUR", "what is due once it is delivered; negative where the provider pays"),
        ]
    ),
    "message": pa.schema(
        [
            _value("time_s", "s", "when it was sent", pa.int64()),
            _PERIOD,
            _key("kind", _NAME, "message type"),
            _key("sender", _NAME, "who sent it; at round fidelity a group"),
            _key("receiver", _NAME, "who it was for; at round fidelity a group"),
            _value("delivered_s", "s", "when it arrived; null when lost", pa.int64()),
            _value("n", "", "how many messages this row counts", pa.int64()),
        ]
    ),
    "settlement": pa.schema(
        [
            _PERIOD,
            _key("payer", _NAME, "whose account is debited"),
            _key("payee", _NAME, "whose account is credited"),
            _key("reason", _NAME, "what for, such as p2p or supply; the design, section 7, has all"),
            _value("amount_eur", "EUR", "amount, never negative"),
        ]
    ),
    "agent": pa.schema(
        [
            _PERIOD,
            _key("agent", _NAME, "which peer"),
            _value("p_forecast_mw", "MW", "net power expected before trading"),
            _value("p_p2p_mw", "MW", "net power scheduled after trading"),
            _value("p_mw", "MW", "net power delivered"),
            _value("q_mvar", "Mvar", "net reactive power delivered"),
            _value("p_load_mw", "MW", "consumption delivered, positive"),
            _value("p_generation_mw", "MW", "generation delivered"),
            _value("p_curtailed_mw", "MW", "generation that an activation or an order kept from being delivered"),
            _value("p_storage_mw", "MW", "power of the batteries, positive when they discharge"),
            _value("p_traded_mw", "MW", "net power sold to other peers"),
            _value("soc_mwh", "MWh", "energy in the battery at the end of the period"),
            _value("utility_eur", "EUR", "value of the consumption that trading added"),
            _value("payment_eur", "EUR", "what the peer paid, less what it received"),
            _value("reference_payment_eur", "EUR", "the same without any trading between peers"),
        ]
    ),
    "peer": pa.schema(
        [
            _key("agent", _NAME, "name of the peer"),
            _value("bus", "", "index of its bus in network.json", pa.int64()),
            _value("kind", "", "consumer, producer or prosumer", _NAME),
            _value("strategy", "", "trading strategy", _NAME),
            _value("p_load_mw", "MW", "rated power of its loads, positive"),
            _value("p_generation_mw", "MW", "rated power of its generators"),
            _value("p_storage_mw", "MW", "rated power of its batteries"),
            _value("e_storage_mwh", "MWh", "capacity of its batteries"),
            _value("soc_initial_mwh", "MWh", "energy in its batteries at the start"),
        ]
    ),
}
"""Schema of every table, by the file's name without ``.parquet``."""


def keys(table: str) -> list[str]:
    """Names of a table's key columns, in order."""
    return [field.name for field in TABLES[table] if (field.metadata or {}).get(b"key")]


def unit(table: str, column: str) -> str:
    """Unit of a column, empty where it has none."""
    metadata = TABLES[table].field(column).metadata or {}
    return bytes(metadata.get(b"unit", b"")).decode()
