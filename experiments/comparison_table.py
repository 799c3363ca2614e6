"""Key figures of compared variants side by side: means, and paired differences to the first variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.experiments.comparison import MARK
from peerwatt.experiments.paired import CONFIDENCE, Paired, paired
from peerwatt.experiments.wording import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table
    from rich.text import Text

    from peerwatt.experiments.comparison import Comparison

__all__ = ["SECTIONS", "Paired", "as_document", "as_markdown", "as_table", "failed_lines", "hints", "paired"]

SECTIONS: dict[str, dict[str, str]] = {
    "P2P trading": {
        "p2p_volume_mwh": "traded, MWh",
        "p2p_mean_price_eur_per_mwh": "sellers get, EUR/MWh",
        "p2p_buyer_mean_price_eur_per_mwh": "buyers pay, EUR/MWh",
        "p2p_surplus_eur": "kept by the market, EUR",
        "social_welfare_eur": "social welfare, EUR",
        "rounds_mean": "rounds per period",
    },
    "signals of the DSO": {
        "lines_at_risk_mean": "lines at risk",
        "blocked_pairs_mean": "blocked pairs",
        "limits_unmet_periods": "periods with limits unmet at the end",
        "incentives_eur": "incentives paid, EUR",
    },
    "before trading": {
        "congested_lines_forecast": "congested lines x periods",
        "overflow_sum_forecast_mw": "overflow sum, MW",
        "voltage_violations_forecast": "voltage violations",
    },
    "after trading, before the LFM": {
        "congested_lines_p2p": "congested lines x periods",
        "overflow_sum_p2p_mw": "overflow sum, MW",
        "overflow_weighted_p2p_mw": "overflow weighted mean, MW",
        "overflow_weighted_p2p_percent": "overflow weighted mean, %",
        "voltage_violations_p2p": "voltage violations",
    },
    "flexibility market (LFM)": {
        "lfm_cost_eur": "cost, EUR",
        "lfm_volume_mwh": "activated, MWh",
        "lfm_runs": "periods with an LFM",
        "lfm_infeasible_percent": "infeasible, % of periods",
        "lfm_missing_mwh": "missing, MWh",
        "lfm_missing_max_mw": "missing at most, MW",
        "lfm_missing_max_pu": "missing at most, pu",
        "congested_lines_final": "congested lines after it",
        "voltage_violations_final": "voltage violations after it",
    },
    "capacity market (CM5)": {
        "capacity_traded_mean_mw": "provided, mean MW",
        "capacity_periods": "periods with a request",
        "capacity_missing_mean_mw": "missing, mean MW",
        "capacity_infeasible_periods": "periods in which some is missing",
    },
    "delivery": {
        "congestion_violations": "congested lines x periods",
        "voltage_violations": "voltage violations",
        "max_loading_percent": "highest loading, %",
        "min_vm_pu": "lowest voltage, pu",
        "max_vm_pu": "highest voltage, pu",
        "losses_mwh": "losses, MWh",
        "not_converged": "power flows without solution",
    },
    "money": {
        "cost_peers_eur": "cost of peers, EUR",
        "money_supplier_eur": "supplier receives, EUR",
        "money_dso_eur": "DSO receives, EUR",
        "money_market_eur": "market keeps, EUR",
        "money_outside_eur": "outside FSPs receive, EUR",
        "flexibility_paid_eur": "DSO pays for flexibility, EUR",
    },
    "numbers disclosed": {
        "numbers_peers_to_mediator": "peers to mediator",
        "numbers_peers_to_p2p_market": "peers to bilateral market",
        "numbers_peers_to_dso": "peers to DSO",
        "numbers_peers_to_fmo": "peers to FMO",
        "numbers_mediator_to_fmo": "mediator to FMO",
        "numbers_mediator_to_dso": "mediator to DSO",
        "numbers_p2p_market_to_dso": "bilateral market to DSO",
        "numbers_dso_to_peers": "DSO to peers",
        "numbers_dso_to_mediator": "DSO to mediator",
        "messages_dso_to_peers": "messages, DSO to peers",
        "messages": "messages in all",
    },
}
"""Key figures of the table, with their labels, by section; all others are in `compare.parquet`."""


def _rows(comparison: Comparison) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Section, label and cells of every row that says something: is there, and not 0 throughout."""
    flawed, first = comparison.unsolved, comparison.variants[0]
    yield from _unsolved_rows(comparison)
    for section, labels in SECTIONS.items():
        for key, label in labels.items():
            values = paired(comparison, key)
            if any(each.n and each.mean != 0.0 for each in values.values()):
                decimals = 4 if key.endswith("_pu") else None
                cells = {name: _cell(values[name], decimals) for name in comparison.variants}
                yield (
                    section,
                    label,
                    [
                        (_marked(mean, name in flawed), _marked(difference, name in flawed or first in flawed))
                        for name, (mean, difference) in cells.items()
                    ],
                )


def _unsolved_rows(comparison: Comparison) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """How many periods of each variant have no result, by what has none."""
    by_variant = [{each.words: each.share for each in comparison.unsolved_of(name)} for name in comparison.variants]
    for words in dict.fromkeys(words for own in by_variant for words in own):
        cells = [(f"{own[words]} {MARK}" if words in own else "none", "") for own in by_variant]
        yield "periods without a result", words, cells


def _marked(text: str, flawed: bool) -> str:  # noqa: FBT001
    return f"{text} {MARK}" if flawed and text not in ("", "-") else text


def _cell(value: Paired, decimals: int | None) -> tuple[str, str]:
    """Mean, and difference with its interval."""
    if not value.n:
        return "-", ""
    rounding = 1e-7 * abs(value.mean) if decimals is None else 0.5 * 10.0**-decimals

    def short(figure: float) -> str:
        """A whole number as one, what is 0 but for rounding as 0, else three digits."""
        if abs(figure) <= max(rounding, 1e-9):
            return "0"
        if decimals is not None:
            return f"{figure:.{decimals}f}"
        return f"{figure:,.0f}" if figure == round(figure) else number(figure)

    if np.isnan(value.difference):
        return short(value.mean), ""
    difference = short(value.difference)
    if value.difference > 0.0 and difference != "0":
        difference = f"+{difference}"
    if np.isnan(value.half_width) or (difference, short(value.half_width)) == ("0", "0"):
        return short(value.mean), difference
    return short(value.mean), f"{difference} ± {short(value.half_width)}"


def as_table(comparison: Comparison) -> Table:
    """The comparison as a table for the terminal."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption=_caption(comparison))
    table.caption_justify = "left"
    table.add_column("", no_wrap=True)
    for name in comparison.variants:
        table.add_column(name, justify="right", no_wrap=True)
    last = ""
    for section, label, cells in _rows(comparison):
        if section != last:
            table.add_row(section, style="bold")
            last = section
        table.add_row(f"  {label}", *(_styled(mean) for mean, _ in cells))
        if any(difference for _, difference in cells):
            table.add_row("", *(_styled(difference) for _, difference in cells), style="dim")
    return table


def _styled(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="red" if MARK in text else "")


def _caption(comparison: Comparison) -> str:
    first, n = comparison.variants[0], comparison.replicas
    if n == 1:
        said = f"One replica; below each figure its difference to {first}. No intervals: take more with --replicas."
    else:
        said = f"Means over {n} replicas; below each the paired difference to {first} with its {CONFIDENCE:.0%} "
        said += "confidence interval."
    return "\n".join([said, *comparison.warnings])


def as_markdown(comparison: Comparison) -> str:
    """The comparison as a page."""
    lines = ["# Comparison", ""]
    lines += [f"- {label}: {text}" for label, text in comparison.about.items()]
    lines += [f"- assumed: {text}" for text in comparison.assumed]
    lines += ["", _caption(comparison).replace("below", "after").replace("\n", "\n\n"), ""]
    lines += ["| | " + " | ".join(comparison.variants) + " |", "|---|" + "---:|" * len(comparison.variants)]
    last = ""
    for section, label, cells in _rows(comparison):
        if section != last:
            lines.append(f"| **{section}** |" + " |" * len(comparison.variants))
            last = section
        texts = [f"{mean} ({difference})" if difference else mean for mean, difference in cells]
        lines.append(f"| {label} | " + " | ".join(texts) + " |")
    if failures := failed_lines(comparison):
        lines += ["", "Failed:", "", *(f"- {line}" for line in failures)]
    return "\n".join(lines) + "\n"


def failed_lines(comparison: Comparison) -> list[str]:
    """What failed and why, the replicas with the same reason in one line."""
    replicas: dict[tuple[str, str], list[int]] = {}
    for outcome in comparison.failed:
        replicas.setdefault((outcome.variant, outcome.error), []).append(outcome.replica)
    lines = []
    for (variant, error), which in replicas.items():
        some = "" if len(which) == comparison.replicas else f", replica {', '.join(map(str, which))}"
        lines.append(f"{variant}{some}: " + error.replace("\n", "; "))
    return lines


def hints(comparison: Comparison) -> list[str]:
    """What keeps a comparison from saying much, and what would help."""
    found = [outcome.kpi for outcome in comparison.outcomes if outcome.kpi]
    over = [key for key in found[0] if key.startswith(("congested_lines_", "voltage_violations_"))] if found else []
    if found and not any(kpi.get(key) for kpi in found for key in over):
        highest = max((float(kpi["max_loading_percent"]) for kpi in found if "max_loading_percent" in kpi), default=0.0)
        example = f"--set grid.max_loading_percent={max(1.0, 0.8 * highest):.0f}"
        return [f"No limit was violated at any stage; tighten one for the DSO to have something to do, e.g. {example}"]
    trading = [kpi for kpi in found if kpi.get("p2p_volume_mwh")]  # not where capacity is traded
    still = all(_same(kpi.get("overflow_sum_forecast_mw"), kpi.get("overflow_sum_p2p_mw")) for kpi in trading)
    if trading and still:
        example = "--set 'population.demand_response={household: 0.3, heat_pump: 0.3, ev: 0.3}'"
        return [
            f"Trading did not change any overflow: peers traded what flows anyway; let more respond, e.g. {example}",
        ]
    return []


def _same(a: Any, b: Any) -> bool:
    return a is not None and b is not None and abs(float(a) - float(b)) < 1e-9


def as_document(comparison: Comparison) -> dict[str, Any]:
    """The comparison for JSON; figures that are not known are null."""
    keys = dict.fromkeys(
        key for each in comparison.outcomes for key, value in each.kpi.items() if not isinstance(value, str)
    )
    figures: dict[str, Any] = {}
    for key in keys:
        figures[key] = {
            name: {field: _known(getattr(value, field)) for field in ("mean", "n", "difference", "half_width")}
            for name, value in paired(comparison, key).items()
        }
    return {
        "about": comparison.about,
        "assumed": list(comparison.assumed),
        "replicas": comparison.replicas,
        "reference": comparison.variants[0],
        "confidence": CONFIDENCE,
        "figures": figures,
        "failed": failed_lines(comparison),
        "unsolved": comparison.unsolved,
    }


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
