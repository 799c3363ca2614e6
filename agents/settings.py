"""What a scenario says of the agents: who they are, what they may pay, how well they foresee.

Each field's description becomes the documentation of the scenario file and its JSON Schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, model_validator

from peerwatt.agents.strategies import STRATEGIES
from peerwatt.grid.forecast import ErrorModel

__all__ = [
    "CostSettings",
    "Element",
    "ForecastSettings",
    "PeerSettings",
    "PopulationSettings",
    "Settings",
    "TariffSettings",
]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Correlation = Annotated[float, Field(ge=0.0, lt=1.0)]
CorrelationTime = Annotated[float, Field(ge=0.02, le=8784.0)]
Price = Annotated[float, Field(ge=-10_000.0, le=100_000.0, allow_inf_nan=False)]
LoadKind = Literal["household", "commercial", "agriculture", "industry", "aggregate", "heat_pump", "ev"]
Efficiency = Annotated[float, Field(gt=0.0, le=1.0)]
SelfDischarge = Annotated[float, Field(ge=0.0, lt=1.0)]
Element = Annotated[str, Field(min_length=1)] | StrictInt
"""An element of the grid in a scenario: its name, or its index in pandapower's table, see `peerwatt.grid.lookup`."""
HouseholdPower = Annotated[float, Field(gt=0.0, le=1.0)]


class Settings(BaseModel):
    """Base of all parts of a scenario: unknown keys are refused, values are fixed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _known_strategy(name: str) -> str:
    return STRATEGIES.known(name)


StrategyName = Annotated[str, AfterValidator(_known_strategy)]


class PeerSettings(Settings):
    """What one peer has that differs from the rest."""

    strategy: StrategyName | None = Field(
        None, description="Trading strategy of this peer; by default drawn by shares."
    )
    pv_mw: float | None = Field(
        None,
        ge=0.0,
        le=10.0,
        description="Rated PV power, MW (5 kW is 0.005); plants that it has keep their profiles, 0 takes them away.",
    )
    storage_mwh: float | None = Field(
        None,
        ge=0.0,
        le=100.0,
        description="Battery capacity, MWh (10 kWh is 0.01); all else of a battery that it has stays. An added one "
        "has the population's values, and power in proportion to capacity.",
    )
    storage_mw: float | None = Field(
        None, gt=0.0, le=100.0, description="Power of its battery, MW; by default what the battery has."
    )
    storage_efficiency: Efficiency | None = Field(
        None, description="Round-trip efficiency of its battery, 0 to 1; by default what the battery has."
    )
    storage_self_discharge_per_day: SelfDischarge | None = Field(
        None, description="Share of its energy that its battery loses per day; by default what the battery has."
    )
    storage_initial_charge: Share | None = Field(
        None, description="Energy in its battery at the start, as a share of the capacity; by default the population's."
    )
    ev_mw: float | None = Field(
        None,
        ge=0.0,
        le=10.0,
        description="Rated power of its charging points, MW; those that it has keep their profiles, 0 takes them away.",
    )

    @property
    def storage_keys(self) -> tuple[str, ...]:
        """Which keys say something of a battery that has to be there."""
        keys = ("storage_mw", "storage_efficiency", "storage_self_discharge_per_day", "storage_initial_charge")
        return tuple(key for key in keys if getattr(self, key) is not None)


class CostSettings(Settings):
    """Cost function C(P) = a/2 P^2 + b P + d of the units of one kind, and the bounds of their power."""

    a_eur_per_mw2h: Annotated[float, Field(ge=0.0, le=1e9)] = Field(0.0, description="Coefficient a, EUR/MW2h.")
    sigma_eur_per_mwh: Annotated[float, Field(ge=0.0, le=1e5)] = Field(
        0.0, description="Fall of the marginal utility from none to the whole forecast, EUR/MWh: a = sigma / forecast."
    )
    b_eur_per_mwh: Price = Field(
        0.0, description="Coefficient b, EUR/MWh: of a load the marginal utility of the first MWh."
    )
    d_eur: Price = Field(0.0, description="Coefficient d, EUR per hour: what is due in any case.")
    low: Share = Field(0.0, description="Least power, as a share of the basis; 1 must run at its forecast.")
    high: Annotated[float, Field(ge=0.0, le=10.0)] = Field(1.0, description="Most power, as a share of the basis.")
    basis: Literal["forecast", "rated"] = Field(
        "forecast", description="What bounds are shares of: the `forecast`, or the `rated` power of what can be "
        "dispatched."
    )  # fmt: skip


def _usual_response() -> dict[LoadKind, float]:
    return {"heat_pump": 0.2, "ev": 0.2}


class PopulationSettings(Settings):
    """Who trades: the grid's own loads and generators, joined into peers by bus, and changes to them."""

    size: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Number of peers, drawn with replacement from the grid's own and scaled so that the feeder's "
        "total stays; by default the grid's own peers.",
    )
    pv_share: Share | None = Field(
        None,
        description="Share of the peers with PV, 0 to 1; by default what the grid has. Owners are drawn by seed.",
    )
    pv_mw: HouseholdPower = Field(0.006, description="Rated power of an added PV plant, MW (6 kW is 0.006).")
    storage_share: Share | None = Field(
        None, description="Share of the peers with a battery, 0 to 1; by default what the grid has."
    )
    storage_mwh: HouseholdPower = Field(0.010, description="Capacity of an added battery, MWh (10 kWh is 0.010).")
    storage_mw: HouseholdPower = Field(0.005, description="Power of an added battery, MW (5 kW is 0.005).")
    storage_efficiency: Efficiency = Field(0.95, description="Round-trip efficiency of an added battery, 0 to 1.")
    storage_self_discharge_per_day: SelfDischarge = Field(
        0.0013, description="Share of its energy that an added battery loses per day, 0 to 1; as SimBench's batteries."
    )
    storage_initial_charge: Share | None = Field(
        None,
        description="Energy in every battery at the start, as a share of its capacity; by default what the grid says, "
        "and 0 in added ones.",
    )
    storage_return_h: Annotated[float, Field(gt=0.0, le=8784.0)] | None = Field(
        None,
        description="Hours before the end in which every battery returns to the energy that it began with, in even "
        "steps, from the grid and into it where need be; by default batteries end as it comes. What their power is too "
        "small for is left over: `stored_change_mwh`.",
    )
    ev_share: Share | None = Field(
        None,
        description="Share of the peers that charge an electric vehicle, 0 to 1; by default what the grid has. Owners "
        "are drawn by seed.",
    )
    ev_mw: HouseholdPower = Field(
        0.011,
        description="Rated power of an added charging point, MW (11 kW is 0.011). Its profile is drawn from those of "
        "the grid's charging points whose rated power is the nearest, and moved to another week and by up to an hour.",
    )
    demand_response: dict[LoadKind, Share] = Field(
        default_factory=_usual_response,
        description="By kind of load (household, commercial, agriculture, industry, aggregate, heat_pump, ev): by "
        "which share of its consumption it can rise when electricity is cheaper than the supplier's.",
    )
    peer_of: Literal["bus", "unit"] = Field(
        "bus",
        description="What one peer is: all that stands at one `bus`, or one `unit`, a load or a generator, alone.",
    )
    costs: dict[str, CostSettings] = Field(
        default_factory=dict,
        description="Cost functions by kind of unit (those of demand_response; pv, wind, chp, hydro, generator; or "
        "`load` and `generation` for all others), in place of the tariff's prices. Needs peer_of unit.",
    )
    strategies: dict[StrategyName, Annotated[float, Field(gt=0.0, le=1e6)]] = Field(
        default_factory=lambda: {"truthful": 1.0},
        min_length=1,
        description="Trading strategies and the shares in which they are drawn.",
    )
    peers: dict[str, PeerSettings] = Field(
        default_factory=dict, description="Settings of single peers, by the peer's name."
    )


class TariffSettings(Settings):
    """The outside option: what the supplier takes and pays, and what the network costs."""

    supply_eur_per_mwh: Price = Field(
        300.0, description="Retail price at which the supplier sells, EUR/MWh (0.30 EUR/kWh is 300)."
    )
    feed_in_eur_per_mwh: Price = Field(80.0, description="Price at which the supplier buys surplus, EUR/MWh.")
    network_fee_eur_per_mwh: Annotated[float, Field(ge=0.0, le=10_000.0)] = Field(
        0.0, description="What the buyer pays the DSO for energy traded between peers, EUR/MWh."
    )
    imbalance_short_eur_per_mwh: Price | None = Field(
        None, description="Price of energy sold but not delivered, EUR/MWh; by default the supplier's price."
    )
    imbalance_long_eur_per_mwh: Price | None = Field(
        None, description="Price of energy bought but not consumed, EUR/MWh; by default the feed-in price."
    )
    losses_eur_per_mwh: Price = Field(100.0, description="What the DSO pays the supplier for losses, EUR/MWh.")

    @model_validator(mode="after")
    def _leaves_room_to_trade(self) -> TariffSettings:
        if self.feed_in_eur_per_mwh > self.supply_eur_per_mwh:
            raise ValueError(
                f"feed_in_eur_per_mwh ({self.feed_in_eur_per_mwh:g}) is above supply_eur_per_mwh "
                f"({self.supply_eur_per_mwh:g}): buying from the supplier to sell to it would pay; swap them?"
            )
        return self

    @property
    def shortfall_eur_per_mwh(self) -> float:
        """Price of energy sold but not delivered."""
        own = self.imbalance_short_eur_per_mwh
        return self.supply_eur_per_mwh if own is None else own

    @property
    def excess_eur_per_mwh(self) -> float:
        """Price of energy bought but not consumed."""
        own = self.imbalance_long_eur_per_mwh
        return self.feed_in_eur_per_mwh if own is None else own


class ForecastSettings(Settings):
    """How well agents foresee their own load and generation."""

    load_error: Share = Field(
        0.05,
        description="Standard deviation of the forecast error of each peer's load at any moment, as a share of it; the "
        "mean over a period is off by less.",
    )
    load_spatial_correlation: Share = Field(0.0, description="Correlation of these errors between peers, 0 to 1.")
    load_correlation_time_h: CorrelationTime = Field(
        1.0,
        description="Hours in which the correlation of a peer's errors falls to 1/e, whatever the length of a period.",
    )
    generation_error: Share = Field(
        0.10,
        description="Standard deviation of the forecast error of each peer's generation, as a share of it, likewise.",
    )
    generation_spatial_correlation: Share = Field(
        0.8, description="Correlation of these errors between peers, 0 to 1: one sky over all PV."
    )
    generation_correlation_time_h: CorrelationTime = Field(
        1.0,
        description="Hours in which the correlation of a peer's errors falls to 1/e, whatever the length of a period.",
    )

    @model_validator(mode="before")
    @classmethod
    def _is_a_time(cls, given: Any) -> Any:
        for what in ("load", "generation"):
            before = f"{what}_temporal_correlation"
            if isinstance(given, dict) and before in given:
                raise ValueError(
                    f"{before} depended on the length of a period and is no key any more; give "
                    f"{what}_correlation_time_h, in hours: a correlation of 0.8 from one quarter of an hour to the "
                    "next is -0.25 / ln 0.8 = 1.12 h"
                )
        return given

    def load(self) -> ErrorModel:
        """Error model of loads."""
        return ErrorModel(self.load_error, self.load_correlation_time_h, self.load_spatial_correlation)

    def generation(self) -> ErrorModel:
        """Error model of generation."""
        return ErrorModel(
            self.generation_error, self.generation_correlation_time_h, self.generation_spatial_correlation
        )
