"""How a P2P market and the grid are brought together: the design elements of D5.3, chapter 3, as settings.

The conceptual models CM1 to CM5 (D5.3, Table 4) are presets over them. What a scenario says itself counts; what it
leaves out is the preset's, and without a preset there is no service and no flexibility market.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from peerwatt.agents.policies import POLICIES, IterativePolicy, Policy
from peerwatt.agents.settings import Element, Price, Settings, Share
from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.mechanism import BookKind, Mechanism, PairMechanism
from peerwatt.registry import construct, nearest

__all__ = [
    "PRESETS",
    "CoordinationSettings",
    "Design",
    "LfmSettings",
    "OutsideFsp",
    "Participant",
    "Preset",
    "Product",
    "Sequence",
    "Service",
]


class Product(StrEnum):
    """What peers trade (D5.3, section 3.2.1).

    Attributes:
        ENERGY: energy.
        CAPACITY: flexibility that the DSO has asked for.
    """

    ENERGY = "energy"
    CAPACITY = "capacity"


class Service(StrEnum):
    """What trading gives the DSO (section 3.2.3).

    Attributes:
        NONE: nothing; the network does not count.
        IMPLICIT: trades respect the network, by a scheme.
        EXPLICIT: peers trade until the DSO's request is met.
    """

    NONE = "none"
    IMPLICIT = "implicit"
    EXPLICIT = "explicit"


class Sequence(StrEnum):
    """How P2P trading and the flexibility market are ordered (section 3.2.7).

    Attributes:
        P2P_FIRST: trades, then flexibility for what they leave.
        LFM_FIRST: flexibility by the forecast, then trades.
        ITERATIVE: one after the other until nothing is violated or the cycles end.
        UNRELATED: both at once, neither knows of the other.
    """

    P2P_FIRST = "p2p_first"
    LFM_FIRST = "lfm_first"
    ITERATIVE = "iterative"
    UNRELATED = "unrelated"


class Addressed(StrEnum):
    """What the DSO cares for (section 3.2.6).

    Attributes:
        CONGESTION: loading of lines and transformers.
        VOLTAGE: voltage bands.
        LOSSES: losses; only schemes with prices can address them.
    """

    CONGESTION = "congestion"
    VOLTAGE = "voltage"
    LOSSES = "losses"


class Participant(StrEnum):
    """Who offers flexibility in the LFM.

    Attributes:
        PEERS: every peer what trading has left of its flexibility.
        MEDIATOR: the mediator the sum of it, by connection point.
        OUTSIDE: resources outside the P2P market.
    """

    PEERS = "peers"
    MEDIATOR = "mediator"
    OUTSIDE = "outside"


Power = Annotated[float, Field(ge=0.0, le=1000.0, allow_inf_nan=False)]


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"[{value[0]:g}, {value[1]:g}] is not a range: the lower end comes first")
    return value


PriceRange = Annotated[tuple[Price, Price], AfterValidator(_rising)]


class OutsideFsp(Settings):
    """A flexible resource that is no peer."""

    name: str = Field(min_length=1, max_length=80, description="Name in the results.")
    bus: Element = Field(description="Name or index of its bus.")
    up_mw: Power = Field(0.0, description="Most that it can feed in more (or consume less), MW.")
    down_mw: Power = Field(0.0, description="Most that it can feed in less (or consume more), MW.")
    up_eur_per_mwh: Price = Field(100.0, description="What it wants for upward flexibility, EUR/MWh.")
    down_eur_per_mwh: Price = Field(100.0, description="What it wants for downward flexibility; negative if it pays.")


class LfmSettings(Settings):
    """The local flexibility market beside P2P trading."""

    participants: tuple[Participant, ...] | None = Field(
        None, description="Who offers: `peers`, `mediator`, `outside`; by default as the preset says, else peers and "
        "outside."
    )  # fmt: skip
    outside: tuple[OutsideFsp, ...] = Field((), description="Resources outside the P2P market.")
    balanced: bool = Field(
        default=False,
        description="Whether upward must equal downward activation; else the external grid takes the rest.",
    )
    pricing: str = Field(
        "pay_as_bid", pattern="^pay_as_(bid|cleared)$", description="`pay_as_bid`, or `pay_as_cleared` with DLMPs."
    )
    load_share: Share = Field(0.3, description="Share of its consumption that a peer can give up when activated.")
    generation_share: Share = Field(1.0, description="Share of its generation that a peer can curtail.")
    up_markup_eur_per_mwh: PriceRange = Field(
        (45.0, 55.0), description="What peers want for consuming less, beyond what it costs them; drawn per peer."
    )
    down_markup_eur_per_mwh: PriceRange = Field(
        (5.0, 15.0), description="What peers want for curtailing or consuming more, beyond what it costs them."
    )
    corrections: Annotated[int, Field(ge=0, le=20)] = Field(
        3, description="How often the market is cleared again with tightened limits where AC power flow still finds "
        "a violation."
    )  # fmt: skip


class CoordinationSettings(Settings):
    """Service of the peers to the DSO, and the flexibility market beside P2P trading."""

    preset: str | None = Field(
        None, description="Conceptual model of D5.3: `cm1`, `cm2`, `cm3-v1`, `cm3-v2`, `cm4`, `cm5`; or model of "
        "Marques et al.: `p2p_cong`, `p2p_volt`, `p2p_freq`, `p2p_full`."
    )  # fmt: skip
    product: Product | None = Field(None, description="`energy` or `capacity`; by default energy.")
    service: Service | None = Field(None, description="`none`, `implicit` or `explicit`; by default none.")
    scheme: str | None = Field(
        None, description="Policy of the DSO for an implicit service: `blocking`, `incentive_matrix`, `usage_price`, "
        "`constraint_based`, `cost_allocation`, `product_differentiation`, or one of your own."
    )  # fmt: skip
    scheme_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the scheme; a preset's own hold for those that are left out."
    )
    addresses: Annotated[tuple[Addressed, ...], Field(min_length=1)] | None = Field(
        None, description="`congestion`, `voltage`, `losses`; by default as the preset says, else the first two."
    )
    rounds: Annotated[int, Field(ge=1, le=500)] | None = Field(
        None, description="Most rounds of negotiation per period: after each the DSO checks, and where a limit is "
        "violated peers negotiate again with new signals; by default as the preset says, else 1."
    )  # fmt: skip
    lfm: bool | None = Field(
        None, description="Whether there is a local flexibility market; by default as the preset says, else no."
    )
    sequence: Sequence | None = Field(
        None, description="`p2p_first`, `lfm_first`, `iterative` or `unrelated`; by default p2p_first."
    )
    cycles: Annotated[int, Field(ge=2, le=10)] = Field(
        3, description="Most cycles of trading and flexibility when the sequence is iterative."
    )
    p2p_area: tuple[Element, ...] | None = Field(
        None, description="Names or indices of buses whose peers trade with each other; by default all (system-wide)."
    )
    lfm_area: tuple[Element, ...] | None = Field(
        None, description="Names or indices of buses whose peers and resources may offer flexibility; by default all."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> CoordinationSettings:
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"unknown preset '{self.preset}' ({nearest(self.preset, list(PRESETS))})")
        preset = self._preset
        for key, given, fixed in (
            ("product", self.product, preset.product),
            ("service", self.service, preset.service),
            ("lfm", self.lfm, preset.lfm),
        ):
            if self.preset is not None and fixed is not None and given is not None and given != fixed:
                raise ValueError(f"{key} is {_said(given)}, but preset {self.preset} means {key} {_said(fixed)}")
        self._elements(preset)
        return self

    @property
    def _preset(self) -> Preset:
        return PRESETS.get(self.preset or "", Preset())

    @property
    def has_lfm(self) -> bool:
        """Whether there is a flexibility market."""
        return self._preset.lfm_by_default or bool(self._preset.lfm) if self.lfm is None else self.lfm

    def _elements(self, preset: Preset) -> None:
        """Refuse combinations without meaning, with the reason."""
        product = self.product or preset.product or Product.ENERGY
        service = self._service
        lfm, scheme = self.has_lfm, self.scheme or preset.scheme
        if (product is Product.CAPACITY) != (service is Service.EXPLICIT):
            raise ValueError(
                f"product {product} with service {service}: capacity is traded to meet the DSO's request, and nothing "
                "else is (explicit)"
            )
        if service is Service.EXPLICIT and lfm:
            raise ValueError("lfm with service explicit: trading capacity takes the place of a flexibility market")
        if service is Service.IMPLICIT and scheme is None:
            raise ValueError(f"service implicit needs a scheme: {', '.join(POLICIES.names())}")
        if service is not Service.IMPLICIT and scheme is not None:
            raise ValueError(
                f"scheme {scheme} needs service implicit, but service is {service}: the DSO gives no signals"
            )
        if self.scheme_options and scheme is None:
            raise ValueError("scheme_options without a scheme")
        if service is Service.NONE and (self.rounds or 1) > 1:
            raise ValueError(f"rounds is {self.rounds}, but without a service the DSO sends nobody back to negotiate")
        if not lfm and self.sequence is not None:
            raise ValueError(f"sequence {self.sequence} without a flexibility market: set lfm to true")
        if Addressed.LOSSES in (self.addresses or ()) and scheme not in ("cost_allocation", "usage_price"):
            raise ValueError("addresses losses: only the schemes cost_allocation and usage_price put a price on them")
        for key in ("p2p_area", "lfm_area"):
            if getattr(self, key) == ():
                raise ValueError(f"{key} is empty: no peer could take part")

    @property
    def default_mechanism(self) -> str:
        """Mechanism where the market names none; an auction to which the DSO gives signals must know pairs."""
        if self._preset.book is BookKind.QUADRATIC:
            return "bilateral"
        return "pairwise" if self._service is Service.IMPLICIT else "double_auction"

    @property
    def default_participants(self) -> tuple[Participant, ...]:
        """Who offers flexibility where nobody is named."""
        return self._preset.participants

    @property
    def _service(self) -> Service:
        return self.service or self._preset.service or Service.NONE

    def design(self, mechanism: str, built: Mechanism) -> Design:
        """The design elements with everything that the preset fills in.

        Args:
            mechanism: name of the market's mechanism, for the message.
            built: the mechanism.

        Raises:
            ScenarioError: the mechanism is not of the preset's kind or cannot take the DSO's signals, or the scheme
                refuses its options.
        """
        preset, service, book = self._preset, self._service, built.book
        if preset.book is not None and preset.book is not book:
            kind = "an auction" if preset.book is BookKind.STEPS else "bilateral trading"
            raise ScenarioError(
                Fault(
                    "market.mechanism", f"'{mechanism}', but preset {self.preset} means {kind}", "leave one of them out"
                )
            )
        if service is Service.EXPLICIT and book is not BookKind.QUADRATIC:
            fault = f"'{mechanism}', but for an explicit service capacity is traded bilaterally"
            raise ScenarioError(Fault("market.mechanism", fault, "set it to bilateral"))
        scheme = self.scheme or preset.scheme
        if service is Service.IMPLICIT and book is BookKind.STEPS and not isinstance(built, PairMechanism):
            problem = (
                f"'{mechanism}' does not look at who trades with whom, but the DSO's signals (coordination.scheme "
                f"'{scheme}') are about pairs of peers"
            )
            remedy = "leave it out or take `pairwise`" + (" or a bilateral one" if preset.book is None else "")
            raise ScenarioError(Fault("market.mechanism", problem, remedy))
        options = self.scheme_options
        if scheme is not None:
            options = {**preset.options, **options} if scheme == preset.scheme else options
            construct(POLICIES, scheme, options)
        return Design(
            product=self.product or preset.product or Product.ENERGY,
            service=service,
            scheme=scheme if service is Service.IMPLICIT else None,
            scheme_options=options,
            addresses=frozenset(self.addresses or preset.addresses),
            rounds=self.rounds or preset.rounds,
            lfm=self.has_lfm,
            sequence=self.sequence or Sequence.P2P_FIRST,
            cycles=self.cycles,
            p2p_area=self.p2p_area,
            lfm_area=self.lfm_area,
        )


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Design:
    """The design elements of a run, none of them open; fields as in `CoordinationSettings`."""

    product: Product
    service: Service
    scheme: str | None
    scheme_options: dict[str, Any]
    addresses: frozenset[Addressed]
    rounds: int
    lfm: bool
    sequence: Sequence
    cycles: int
    p2p_area: tuple[str | int, ...] | None
    lfm_area: tuple[str | int, ...] | None

    def policy(self) -> Policy | IterativePolicy | None:
        """A new policy of the scheme, if there is one."""
        return None if self.scheme is None else construct(POLICIES, self.scheme, self.scheme_options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A row of D5.3, Table 4; None where the model leaves it open.

    Attributes:
        product, service, lfm: design elements that are fixed.
        scheme: the scheme if none is named.
        book: kind of book of the mechanism: steps for auctions, quadratic for bilateral trading.
        participants: who offers in the LFM if nobody is named.
        lfm_by_default: whether there is an LFM where both are allowed.
        options: of the scheme, where the scenario gives none.
        addresses, rounds: where the scenario says nothing.
    """

    product: Product | None = None
    service: Service | None = None
    lfm: bool | None = None
    scheme: str | None = None
    book: BookKind | None = None
    participants: tuple[Participant, ...] = (Participant.PEERS, Participant.OUTSIDE)
    lfm_by_default: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    addresses: tuple[Addressed, ...] = (Addressed.CONGESTION, Addressed.VOLTAGE)
    rounds: int = 1


def _iterative(**more: Any) -> Preset:
    """A model of Marques et al. in which the DSO sends the market back until the limits hold."""
    scheme = "product_differentiation"
    fixed: dict[str, Any] = {"product": Product.ENERGY, "service": Service.IMPLICIT, "lfm": False}
    return Preset(**fixed, scheme=scheme, book=BookKind.QUADRATIC, rounds=40, **more)


_BY_MEDIATOR = (Participant.MEDIATOR, Participant.OUTSIDE)

PRESETS: dict[str, Preset] = {
    "cm1": Preset(
        product=Product.ENERGY,
        service=Service.NONE,
        book=BookKind.STEPS,
        participants=_BY_MEDIATOR,
        lfm_by_default=True,
    ),
    "cm2": Preset(product=Product.ENERGY, service=Service.NONE, book=BookKind.QUADRATIC, lfm_by_default=True),
    "cm3-v1": Preset(
        product=Product.ENERGY, service=Service.IMPLICIT, lfm=False, scheme="blocking", book=BookKind.STEPS
    ),
    "cm3-v2": Preset(
        product=Product.ENERGY,
        service=Service.IMPLICIT,
        lfm=True,
        scheme="blocking",
        book=BookKind.STEPS,
        participants=_BY_MEDIATOR,
    ),
    "cm4": Preset(
        product=Product.ENERGY,
        service=Service.IMPLICIT,
        scheme="blocking",
        book=BookKind.QUADRATIC,
        lfm_by_default=True,
    ),
    "cm5": Preset(product=Product.CAPACITY, service=Service.EXPLICIT, lfm=False, book=BookKind.QUADRATIC),
    "p2p_cong": _iterative(addresses=(Addressed.CONGESTION,)),
    "p2p_volt": _iterative(addresses=(Addressed.VOLTAGE,), options={"reactive": True}),
    "p2p_freq": Preset(product=Product.ENERGY, service=Service.NONE, lfm=False, book=BookKind.QUADRATIC),
    "p2p_full": _iterative(options={"reactive": True, "flexibility_of": "generation", "flexibility_max": 1.0}),
}
"""The conceptual models of D5.3, Table 4, of which CM1, CM2 and CM4 may stand beside an LFM and do by default; and the
models of Marques et al., section IV."""
