"""The messages of one period in order, as D5.3 describes each conceptual model."""

from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from peerwatt.errors import ResultsError
from peerwatt.experiments.cli import app
from peerwatt.experiments.sequence import as_mermaid, as_table, steps
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from peerwatt.sim.running import run
from peerwatt.sim.scenario import Scenario
from tests.fabricate import tiny
from tests.scenarios import small_case, small_scenario

PERIOD = 4
TIGHT = {"time.period_s": 7200, "time.periods": PERIOD + 1, "grid.max_loading_percent": 25, "market.mechanism": None}


def told(path, **changes):
    scenario = Scenario.load("lv-village", {**TIGHT, **{k.replace("__", "."): v for k, v in changes.items()}})
    return steps(run(scenario, path), PERIOD)


def arrows(found):
    """Sender, message, receiver of each step, repetitions of the correction with the FMO left out."""
    plain = [(step.sender.label, step.kind, step.receiver.label) for step in found]
    return list(dict.fromkeys(plain))


def test_cm1_is_an_auction_and_the_mediator_offers_to_the_lfm(tmp_path):
    assert arrows(told(tmp_path / "run", coordination__preset="cm1")) == [
        ("mediator", "CallForBids", "39 peers"),
        ("39 peers", "Bid", "mediator"),
        ("mediator", "ClearingNotice", "39 peers"),
        ("mediator", "ProposedTrades", "DSO"),
        ("mediator", "ProposedTrades", "supplier"),
        ("DSO", "FlexibilityNeed", "FMO"),
        ("FMO", "CallForFlexibility", "mediator"),
        ("mediator", "CallForFlexibility", "39 peers"),
        ("39 peers", "FlexibilityBid", "mediator"),
        ("mediator", "AggregateBid", "FMO"),
        ("FMO", "FlexibilityResult", "DSO"),
        ("DSO", "Verdict", "FMO"),
        ("FMO", "AggregateActivation", "mediator"),
        ("mediator", "Activation", "39 peers"),
        ("DSO", "ConnectionState", "39 peers"),
        ("DSO", "MeterReadings", "supplier"),
    ]


def test_cm2_has_peers_offer_their_own_flexibility(tmp_path):
    found = arrows(told(tmp_path / "run", coordination__preset="cm2"))
    assert ("39 peers", "FlexibilityBid", "FMO") in found
    assert ("FMO", "Activation", "39 peers") in found
    assert all("mediator" not in arrow for arrow in found)


def test_cm3_has_the_dso_tell_the_mediator_before_it_calls(tmp_path):
    found = arrows(told(tmp_path / "run", coordination__preset="cm3-v1"))
    assert found[:2] == [("DSO", "GridSignals", "mediator"), ("mediator", "CallForBids", "39 peers")]
    assert all("FMO" not in arrow for arrow in found)


def test_cm4_negotiates_again_as_long_as_a_limit_is_violated(tmp_path):
    found = told(tmp_path / "run", coordination__preset="cm4", coordination__rounds=3)
    kinds = [step.kind for step in found]
    assert kinds[:3] == ["BlockingList", "CallForBids", "OfferWithTerms"]
    assert kinds.count("Renegotiation") == 2
    assert kinds.count("OfferWithTerms") == 3
    after = kinds[kinds.index("Renegotiation") :]
    assert after[:3] == ["Renegotiation", "BlockingList", "CallForBids"]


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_both_fidelities_tell_the_same_story(tmp_path, loss):
    single, batch = (
        told(tmp_path / fidelity, coordination__preset="cm4", communication__fidelity=fidelity,
             communication__loss=loss)
        for fidelity in ("message", "round")
    )  # fmt: skip

    def totals(found):
        return [(step.time_s, step.kind, step.n, step.lost) for step in found if step.kind != "ConnectionState"]

    assert totals(single) == totals(batch)


def test_what_is_written_is_a_mermaid_diagram(tmp_path):
    path = tmp_path / "run"
    told(path, coordination__preset="cm1")
    file = tmp_path / "one.mmd"
    result = CliRunner().invoke(app, ["sequence", str(path), "--period", str(PERIOD), "--mermaid", str(file)])
    assert result.exit_code == 0
    assert "mediator → FMO" in result.output
    lines = file.read_text().splitlines()
    assert lines[0] == "sequenceDiagram"
    names = {line.split()[1]: line.partition(" as ")[2] for line in lines if line.strip().startswith("participant")}
    assert list(names.values()) == ["39 peers", "mediator", "DSO", "FMO", "supplier"]
    used = {part for line in lines if "->>" in line for part in line.strip().partition(":")[0].split("->>")}
    assert used == set(names)


def test_few_peers_have_a_lifeline_each(tmp_path):
    with Simulation(small_scenario(2), tmp_path / "run", small_case(2, 4)) as simulation:
        simulation.run()
    found = steps(Results(tmp_path / "run"), 1)
    assert {"House 1", "House 2", "House 3"} <= {step.receiver.label for step in found}
    console = Console(file=StringIO(), width=150, markup=False)
    console.print(as_table(found, 1))
    assert "mediator → House 2" in console.file.getvalue()
    assert as_mermaid(found).count("participant") == 6


def test_a_period_that_was_not_simulated_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="there is no period 7"):
        steps(Results(tiny(tmp_path)), 7)
