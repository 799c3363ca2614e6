"""Writes the page of the study: what is assumed, Table 8, statements, figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peerwatt.agents.policies.incentive_matrix import Reading
from peerwatt.experiments.studies.d53.figures import FIGURES, HISTOGRAM, TABLE8, draw_figures
from peerwatt.experiments.studies.d53.model import Level, PairBound, Scenario
from peerwatt.experiments.studies.d53.prose import ASSUMPTIONS, PAGE
from peerwatt.experiments.studies.d53.spread import Row, table8
from peerwatt.experiments.studies.d53.statements import STATEMENTS, Share, Wide, factor_effects, shares, word
from peerwatt.experiments.studies.d53.study import StudyPlan
from peerwatt.experiments.studies.d53.table import KPIS, at_level

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write_page"]

_PAGE = "d53.md"


def write_page(
    frame: pd.DataFrame, plan: StudyPlan, directory: Path, variations: dict[str, dict[str, Share]], n_varied: int
) -> Path:
    """Write the page and its pictures.

    Args:
        frame: rows of the study.
        plan: what was run.
        directory: where they go.
        variations: shares by variation of the model; may be empty.
        n_varied: seeds of every variation.

    Returns:
        The page.
    """
    directory.mkdir(parents=True, exist_ok=True)
    draw_figures(frame, plan.levels[0], directory)
    by_level = {level: shares(frame, level) for level in plan.levels}
    text = PAGE.format(
        seeds=plan.seeds,
        first=plan.first_seed,
        last=plan.numbers[-1],
        command=_command(plan, n_varied),
        short=_short(by_level[plan.levels[0]]),
        assumptions=ASSUMPTIONS.format(model=plan.model),
        tables="\n\n".join(_table8(frame, level) for level in plan.levels if level.reading is Reading.ONE_PLUS_MINUS),
        table8=TABLE8,
        statements=_statements(by_level),
        effects=_effects(by_level),
        ratios=_ratios(frame, plan.levels),
        infeasible=_infeasible(frame, plan.levels),
        variations=_variations(variations, n_varied),
        figures=_figures(),
    )
    path = directory / _PAGE
    part = path.with_name(f"{_PAGE}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path


def _command(plan: StudyPlan, n_varied: int) -> str:
    """The command that writes this page again."""
    first = f" --first-seed {plan.first_seed}" if plan.first_seed else ""
    varied = f" --variations {n_varied}" if n_varied else ""
    return f"peerwatt study d53 --seeds {plan.seeds}{first}{varied} --docs docs/studies"


def _short(found: dict[str, Share]) -> str:
    """The statements, grouped by how often they hold."""
    groups: dict[str, list[str]] = {}
    for statement in sorted(STATEMENTS, key=lambda each: -found[each.name].value):
        value = found[statement.name].value
        groups.setdefault(word(value), []).append(f"{statement.text} ({value:.0%})")
    return "\n".join(f"- **{group}**: {'; '.join(texts)}." for group, texts in groups.items())


def _table8(frame: pd.DataFrame, level: Level) -> str:
    lines = [f"Bound per pair: {level.pair_bound}; W: {level.reading}.", ""]
    lines += _head(
        "scenario", *(text for name in KPIS.values() for text in (f"D5.3: {name}", "seeds")), "LFM infeasible"
    )
    lines += [_table8_row(row) for row in table8(frame, level)]
    return "\n".join(lines)


def _table8_row(row: Row) -> str:
    cells = []
    for kpi in KPIS:
        cell = row.cells[kpi]
        cells += [cell.published or "-", str(cell)]
    return _row(str(row.scenario), *cells, f"{row.infeasible:.1%}")


def _statements(by_level: dict[Level, dict[str, Share]]) -> str:
    lines = _head("statement", "section", *(f"{level.pair_bound}, {level.reading}" for level in by_level), "holds in")
    first = next(iter(by_level.values()))
    for statement in STATEMENTS:
        found = [_share(share[statement.name]) for share in by_level.values()]
        lines.append(
            _row(f"{statement.name}: {statement.text}", statement.where, *found, word(first[statement.name].value))
        )
    return "\n".join(lines)


def _share(share: Share) -> str:
    return f"{share.value:.0%} ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _effects(by_level: dict[Level, dict[str, Share]]) -> str:
    """Share of every statement by factor, the others averaged."""
    names = [*(f"bound: {each}" for each in PairBound), *(f"W: {each}" for each in Reading)]
    lines = _head("statement", *names)
    for statement in STATEMENTS:
        effects = factor_effects(by_level, statement.name)
        values = [*effects["pair_bound"], *effects["reading"]]
        lines.append(_row(statement.name, *(f"{value:.0%}" for value in values)))
    return "\n".join(lines)


def _ratios(frame: pd.DataFrame, levels: tuple[Level, ...]) -> str:
    """Volumes as a share of the free volume."""
    lines = _head("bound per pair, W", "blocking (45 %)", "incentives 80 % (47 %)", "incentives 100 % (100 %)")
    for level in levels:
        wide, cells = Wide(at_level(frame, level.pair_bound, level.reading)), []
        for scenario in (Scenario.BLOCKED, Scenario.INCENTIVES_80, Scenario.INCENTIVES_100):
            ratio = wide("p2p_volume_mw", scenario) / wide("p2p_volume_mw", Scenario.FREE)
            low, median, high = ratio.quantile([0.05, 0.5, 0.95])
            cells.append(f"{median:.0%} ({100 * low:.0f} to {100 * high:.0f})")
        lines.append(_row(str(level), *cells))
    return "\n".join(lines)


def _infeasible(frame: pd.DataFrame, levels: tuple[Level, ...]) -> str:
    lines = _head("bound per pair, W", *(str(scenario) for scenario in Scenario))
    for level in levels:
        lines.append(_row(str(level), *(f"{row.infeasible:.1%}" for row in table8(frame, level))))
    return "\n".join(lines)


def _variations(variations: dict[str, dict[str, Share]], n_varied: int) -> str:
    if not variations:
        return "Not run; the option `--variations` adds them."
    names = list(variations)
    lines = [f"{n_varied} seeds each, shares in percent; bound per pair and W as in the first table if not told.", ""]
    lines += [*(f"{k}. {name}" for k, name in enumerate(names)), ""]
    lines += _head("statement", *(str(k) for k in range(len(names))))
    for statement in STATEMENTS:
        values = (variations[name][statement.name].value for name in names)
        lines.append(_row(statement.name, *(f"{100 * value:.0f}" for value in values)))
    return "\n".join(lines)


def _figures() -> str:
    named = {name: title for name, (_, title) in FIGURES.items()} | {HISTOGRAM: "Figure 21: their distribution"}
    return "\n\n".join(f"![{named[name]}]({name})" for name in sorted(named))


def _head(*columns: str) -> list[str]:
    return [_row(*columns), _row("---", *("---:" for _ in columns[1:]))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
