"""Writes docs/conceptual-models.md: design elements, message sequence and disclosure of each conceptual model."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from peerwatt.experiments.compare import VARIANTS
from peerwatt.experiments.sequence import as_mermaid, steps
from peerwatt.market.mechanism import BookKind
from peerwatt.sim.results import Results
from peerwatt.sim.running import run
from peerwatt.sim.scenario import Scenario

TARGET = Path(__file__).with_name("conceptual-models.md")
PERIOD = 4
SETTINGS = {
    "time.start": "2016-06-21",
    "time.period_s": 7200,
    "time.periods": PERIOD + 1,
    "grid.max_loading_percent": 25,
}
"""A morning in the village, with limits so tight that the DSO has something to do in period 4."""


@dataclass(frozen=True)
class Model:
    """A conceptual model.

    Attributes:
        title: of its section.
        variant: name in `peerwatt compare`.
        figure: figure of D5.3.
        text: what the report says of its course.
        departs: where this departs from it, and why; a paragraph each.
        built: whether it can be run.
    """

    title: str
    variant: str
    figure: int
    text: str
    departs: str
    built: bool = True


QUANTITIES = """reports quantities (`ProposedTrades`) to the DSO. An LFM that takes place after trading has to start
from the state that trading leaves, and here the DSO learns of it by message like everybody else."""

LIST_FIRST = """The DSO judges all pairs at once and before they are matched, by the state before trading, and not trade
by trade after a match."""

MODELS = (
    Model(
        "CM1: auction, no service, LFM",
        "cm1",
        7,
        """The mediator runs the auction and matches the bids of the peers; it knows nothing of the network. It may
        take part in the LFM with the aggregated flexibility of its peers.""",
        f"""The report says that no specific interaction between P2P market and DSO is required; here the mediator
        {QUANTITIES}

        The mediator asks its peers for their flexibility when the FMO calls it, so that what they have traded is known
        to them; the report leaves open when it does.""",
    ),
    Model(
        "CM2: bilateral, no service, LFM",
        "cm2",
        8,
        """Peers trade bilaterally to meet their energy needs, without knowledge of the network. FSPs offer to the LFM,
        which the FMO runs; a peer can be an FSP with what trading has left of its flexibility.""",
        f"""Peers do not talk to each other: each sends one `Offer` to the bilateral market, which finds what the
        negotiation of all pairs would end in. Prices go to the two parties only, as the mean price of each one's own
        trades (`ClearingNotice`).

        The bilateral market {QUANTITIES}""",
    ),
    Model(
        "CM3, variation 1: auction, implicit service, no LFM",
        "cm3-v1",
        9,
        """A layer of communication between DSO and mediator makes the matching network-conscious. A trade that
        violates constraints is blocked, or redirected by incentives and penalties.""",
        f"""{LIST_FIRST}

        The mediator gets the signals of all pairs in one message (`GridSignals`); its peers see of them only what comes
        out of the matching.

        With one round, the default of the preset, the DSO does not send the result back; `coordination.rounds` allows
        it to.""",
    ),
    Model(
        "CM3, variation 2: auction, implicit service, LFM",
        "cm3-v2",
        10,
        "As variation 1, and an LFM in which the mediator may offer the aggregated flexibility of the peers.",
        f"""{LIST_FIRST}

        As in CM1, the mediator asks its peers for flexibility when the FMO calls it.""",
    ),
    Model(
        "CM4: bilateral, implicit service",
        "cm4-blocking",
        11,
        """In a first round the peers trade without the network. The quantities of the negotiated bids go to the DSO,
        the prices stay between the two parties. The DSO analyses the state; a trade that violates constraints is
        blocked or redirected by incentives, and the peers negotiate again, until all bids are matched and no constraint
        is violated. An LFM can exist beside it.""",
        f"""{LIST_FIRST} So the first round already counts with the network. The report's study does the same: trades
        are blocked pre-emptively and the peers know beforehand (chapter 5, scenario 2). Its section 3.2.4 has blocking
        and usage prices judge quantities that are matched already; so do the rounds after the first.

        Each peer gets the row and the column of the list or matrix that are its own (`BlockingList`, `TradeTerms`) and
        decides itself with whom it trades; it says so in its `OfferWithTerms`.

        The rounds have a cap, `coordination.rounds` (here 3): nothing says that renegotiation converges, and where the
        network is congested without any trade it cannot. What is left is for the LFM.

        The DSO asks the bilateral market to negotiate again, which calls for offers anew.""",
    ),
    Model(
        "CM5: bilateral capacity trading, explicit service",
        "cm5",
        12,
        """The DSO estimates the flexibility that an area needs and tells the P2P market. The peers trade capacity
        bilaterally until the total meets the request; the result goes to the DSO. There is no LFM.""",
        """The request of an area is split into obligations in proportion to the peers' connections, since the text does
        not say what makes a peer buy capacity from another: who can provide more cheaply than others sells to them what
        they are obliged to. The peers answer a capacity market, which finds the trades; prices stay between both
        parties and the market.

        After the DSO's check with AC power flow it may ask for more, at most `coordination.rounds` times.""",
    ),
)

HEAD = """# Conceptual models

<!-- Written by docs/generate_models.py from runs; do not edit. -->

EUniversal deliverable D5.3, chapter 4, has five conceptual models of how P2P trading, flexibility services and the
grid go together. Here they are presets of `coordination.preset` ([scenario.md](scenario.md)); every design element can
be set by itself, and combinations without meaning are refused with the reason.

```console
peerwatt run lv-village --set coordination.preset=cm1 --set grid.max_loading_percent=25 --out results/cm1
peerwatt sequence results/cm1 --period 32
peerwatt compare cm1 cm2 cm3-v1 cm3-v2 cm4-blocking cm4-incentives --set grid.max_loading_percent=25 --replicas 5
```

The sequences below are those of period {period} of `lv-village` on 21 June with periods of two hours and a loading
limit of 25 percent, as the message bus recorded them: an arrow is a message, `x 39` says how many are sent at the same
time. The figures of the report are compared by the text that goes with them.

What holds for all models and is in none of the figures: the supplier gets the traded quantities and the meter readings,
because it bills; each peer is told the voltage and the loading at its own connection point after delivery
(`ConnectionState`). Messages between operators arrive at once, those to and from peers take their time, and may be
late or lost ([the design](design.md#4-clock-bus-and-agents)).
"""

ROLES = ("peers", "mediator", "p2p_market", "dso", "fmo")


def changes_of(variant: str) -> dict[str, object]:
    """The scenario's changes for a variant."""
    return {**SETTINGS, "market.mechanism": None, **VARIANTS[variant]}


def simulate(variant: str, folder: Path) -> Results:
    """Run a variant."""
    return run(Scenario.load("lv-village", changes_of(variant)), folder / variant)


def elements(models: tuple[Model, ...]) -> list[str]:
    """The design elements of all models, as the code has them (D5.3, Table 4)."""
    lines = ["## Design elements", "", "| | product | service | scheme | trading | LFM | who offers in it |"]
    lines.append("|---|---|---|---|---|---|---|")
    for model in models:
        scenario = Scenario.load("lv-village", changes_of(model.variant))
        design = scenario.design()
        auction = scenario.build_mechanism().book is BookKind.STEPS
        offers = ", ".join(scenario.participants) if design.lfm else "-"
        cells = (
            f"`{scenario.coordination.preset}`",
            design.product,
            design.service,
            design.scheme or "-",
            "auction" if auction else "bilateral",
            design.sequence if design.lfm else "no",
            offers,
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += [
        "",
        wrapped(
            "Open in CM1, CM2 and CM4 is whether there is an LFM (`coordination.lfm: false` takes it away), and "
            "everywhere the sequence: `p2p_first` as in the report's chapter 5, `lfm_first`, `iterative`, `unrelated`. "
            "`outside` are resources that are no peers (`flexibility.outside`); `lv-village` has none."
        ),
    ]
    return lines


def section(model: Model, results: Results | None) -> list[str]:
    """Text, sequence and departures of a model."""
    lines = ["", f"## {model.title}", "", wrapped(f"Figure {model.figure}. {model.text}"), ""]
    departs = [wrapped(f"- {text.strip()}", "  ") for text in model.departs.split("\n\n")]
    if results is not None:
        lines += ["```mermaid", as_mermaid(steps(results, PERIOD)).rstrip(), "```", ""]
    return [*lines, "Where this departs from the figure's text:", "", *departs]


def wrapped(text: str, indent: str = "") -> str:
    """A paragraph in lines of at most 120 characters."""
    return textwrap.fill(
        " ".join(text.split()), 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def disclosed(found: dict[str, Results]) -> list[str]:
    """Numbers that went from role to role in the runs."""
    ways = [f"{a}_to_{b}" for a in ROLES for b in ROLES]
    ways = [way for way in ways if any(results.kpi.get(f"numbers_{way}") for results in found.values())]
    lines = ["", "## Who learns how much", ""]
    text = f"""Numbers in the messages of {PERIOD + 1} periods, by who sent and who got them: D5.3, Table 5's remarks on
    privacy and on additional layers of communication, measured (`numbers_<role>_to_<role>` in
    [the key figures](results.md#key-figures))."""
    lines.append(wrapped(text))
    lines += ["", "| from, to | " + " | ".join(found) + " |", "|---|" + "---:|" * len(found)]
    for way in ways:
        counts = (f"{int(results.kpi.get(f'numbers_{way}', 0)):,}" for results in found.values())
        lines.append(f"| {way.replace('_to_', ', ').replace('_', ' ')} | " + " | ".join(counts) + " |")
    return lines


def page() -> str:
    """The page."""
    with TemporaryDirectory() as folder:
        found = {model.variant: simulate(model.variant, Path(folder)) for model in MODELS if model.built}
        lines = [HEAD.format(period=PERIOD), *elements(MODELS)]
        for model in MODELS:
            lines += section(model, found.get(model.variant))
        return "\n".join([*lines, *disclosed(found)]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
