"""The documents say what is: links lead somewhere, code runs, the reference is that of the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import peerwatt
from peerwatt.agents.strategies import STRATEGIES
from peerwatt.grid.engine import ENGINES
from peerwatt.grid.library.catalog import CASES
from peerwatt.market.mechanism import MECHANISMS
from peerwatt.sim.scenario import Scenario
from peerwatt.sim.tables import TABLES
from peerwatt.validation import validated

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TABLE = re.compile(r"^\| `(\w+)\.parquet` \| (.+) \|$", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Fenced blocks of a language, with the line at which their code begins."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start(2)) + 1, found[2]) for found in _FENCE.finditer(text) if found[1] == language
    ]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosting sites make them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page registers is gone after the test."""
    for registry in (STRATEGIES, ENGINES, MECHANISMS, CASES):
        monkeypatch.setattr(registry, "_items", dict(registry._items))


def generator() -> ModuleType:
    path = ROOT / "docs" / "generate_scenario_reference.py"
    spec = importlib.util.spec_from_file_location("generate_scenario_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_scenario_reference_is_that_of_the_code() -> None:
    module = generator()
    assert module.TARGET.read_text(encoding="utf-8") == module.reference(), (
        "docs/scenario.md is out of date; run: .venv/bin/python docs/generate_scenario_reference.py"
    )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        inside = target.is_relative_to(ROOT) and target.exists()
        if not inside or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", [page for page in DOCS if blocks(page, "python")], ids=name)
@pytest.mark.usefixtures("registries")
def test_the_code_on_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
    for _, text in blocks(page, "yaml"):  # after the code, which registers the names that they use
        document = yaml.safe_load(text)
        if is_scenario(document):
            validated(Scenario, document, name(page))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "yaml") and not blocks(page, "python")], ids=name
)
def test_the_scenarios_on_a_page_are_valid(page: Path) -> None:
    for _, text in blocks(page, "yaml"):
        document = yaml.safe_load(text)
        if is_scenario(document):
            validated(Scenario, document, name(page))


def is_scenario(document: object) -> bool:
    """Whether a document has a key that scenarios have at their top."""
    return isinstance(document, dict) and bool(set(document) & (set(Scenario.model_fields) - {"name", "description"}))


def test_the_design_lists_every_table_with_its_columns() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rows = {
        found[1]: re.findall(r"`(\w+)`", found[2])
        for found in re.finditer(r"^\| `(\w+)\.parquet` \| (.+) \|$", text, re.M)
    }
    assert rows == {table: schema.names for table, schema in TABLES.items()}


def test_the_citation_names_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == peerwatt.__version__
    assert {"message", "title", "authors"} <= set(citation)
