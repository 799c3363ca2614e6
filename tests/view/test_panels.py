"""Every panel and control without a browser: what they show is what the run and its results say."""

from __future__ import annotations

import gc
import io
import itertools
import json
import shlex
import tracemalloc
import weakref
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pytest
import yaml

from peerwatt.experiments.report.markup import Figure
from peerwatt.experiments.view.dials import Dials
from peerwatt.experiments.view.drawing import Drawing, element, loading_class, nice, voltage_class
from peerwatt.experiments.view.facts import facts, tiles
from peerwatt.experiments.view.grid_map import grid_map
from peerwatt.experiments.view.history import MONEY, Element
from peerwatt.experiments.view.layout import fitted
from peerwatt.experiments.view.market_panel import (
    convergence_panel,
    flexibility_panel,
    market_panel,
    order_book_panel,
)
from peerwatt.experiments.view.over_time import element_panel, figures_panel, money_panel
from peerwatt.experiments.view.phases import SINGLE_PHASE_MW
from peerwatt.experiments.view.sequence_panel import sequence_panel
from peerwatt.experiments.view.session import Session
from peerwatt.experiments.view.stepping import advance, clock, go_to, stops, told
from peerwatt.experiments.view.takealong import batch_command, results_archive
from peerwatt.experiments.view.trades_panel import PAIRS, pairs_panel, trades_panel
from peerwatt.grid.cases import GridCase
from peerwatt.sim.model import Simulation
from peerwatt.sim.reading import parse_overrides
from peerwatt.sim.results import Results
from peerwatt.sim.roles import Role
from peerwatt.sim.scenario import Scenario
from tests.scenarios import small_case, small_scenario
from tests.view.feeders import three_phase_case

SVG = "{http://www.w3.org/2000/svg}"


def session_of(periods: int = 8, done: int | None = None, **changes) -> Session:
    """A session on the small feeder with some periods done."""
    session = Session("small.yaml", small_scenario(periods, **changes), case=small_case(periods))
    assert session.start(), session.faults
    for _ in range(periods if done is None else done):
        session.step()
    return session


def congested(**changes) -> Session:
    """A session in which every line with a flow is above its limit."""
    return session_of(grid__max_loading_percent=0.5, **changes)


def drawn(drawing: Drawing | None) -> ET.Element:
    assert drawing is not None
    return ET.fromstring(drawing.svg)


def with_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in root.iter() if name in each.get("class", "").split()]


def figure_json(figure: Figure | None) -> dict:
    """A figure as the browser gets it: strict JSON, no NaN."""
    assert figure is not None
    return json.loads(json.dumps({"data": figure.data, "layout": figure.layout}, allow_nan=False))


# --- the map ---


def test_the_map_draws_every_bus_line_and_transformer_once():
    session = session_of()
    keys = [each.get("data-key") for each in drawn(grid_map(session)).iter() if each.get("data-key")]
    network = session.network
    wanted = [
        f"{kind}:{i}"
        for kind, n in (("line", network.n_line), ("trafo", network.n_trafo), ("bus", network.n_bus))
        for i in range(n)
    ]
    assert sorted(keys) == sorted(wanted)


def test_the_map_is_there_before_the_first_period():
    root = drawn(grid_map(session_of(done=0)))
    assert with_class(root, "wire")
    assert not with_class(root, "arrow")


@pytest.mark.parametrize("stage", ["forecast", "p2p", "delivery"])
def test_lines_are_as_wide_as_their_flow_and_tell_the_numbers_of_the_stage(stage):
    session = session_of(done=4)
    session.look.stage = stage
    state = session.result.states[stage]
    groups = {each.get("data-key"): each for each in drawn(grid_map(session)).iter(f"{SVG}g") if each.get("data-key")}
    widths = []
    for i in range(session.network.n_line):
        group = groups[f"line:{i}"]
        assert f"loading {state.line.loading_percent[i]:.1f} %" in group.get("data-tip")
        widths.append(float(next(each for each in group if "wire" in each.get("class", "")).get("stroke-width")))
    order = np.argsort(np.abs(state.line.p_from_mw))
    assert (np.diff(np.array(widths)[order]) >= 0.0).all()
    assert np.ptp(widths) > 1.0


def test_arrows_point_where_power_flows():
    session = session_of(done=4)
    state, where = session.state, session.placed(900.0)
    for i, group in enumerate(with_class(drawn(grid_map(session)), "branch")[: session.network.n_line]):
        wire = next(each for each in group if "wire" in each.get("class", ""))
        a, b = (where.xy[end[i]] for end in (session.network.lines.from_bus, session.network.lines.to_bus))
        start = a if state.line.p_from_mw[i] >= 0.0 else b
        assert np.allclose([float(wire.get("x1")), float(wire.get("y1"))], start, atol=0.06)


def test_violated_limits_stand_out_by_shape_and_number_not_only_by_colour():
    root, session = drawn(grid_map(congested())), congested()
    found = session.state.violations(session.network)
    assert found.line_mask.any()
    assert (
        len([each for each in with_class(root, "wire") if "over" in each.get("class").split()]) == found.line_mask.sum()
    )
    assert len(with_class(root, "casing")) == found.line_mask.sum()
    texts = [each.text for each in with_class(root, "flag-text")]
    worst = float((session.state.line.loading_percent / session.network.lines.max_loading_percent).max())
    assert worst > 1.0
    assert f"⚠ {100.0 * worst:.0f} % of limit" in texts


def test_flag_tile_pointer_and_charts_mean_the_same_percent():
    session = congested()
    limit = session.network.lines.max_loading_percent
    assert (limit < 100.0).all()
    worst = int(np.argmax(session.state.line.loading_percent / limit))
    share = 100.0 * session.state.line.loading_percent[worst] / limit[worst]
    root = drawn(grid_map(session))
    assert f"⚠ {share:.0f} % of limit" in [each.text for each in with_class(root, "flag-text")]
    tip = next(each for each in root.iter(f"{SVG}g") if each.get("data-key") == f"line:{worst}").get("data-tip")
    assert f"loading {share:.1f} % of its limit ({limit[worst]:g} % of the rating)" in tip
    highest = 100.0 * max(float(each.max()) for each in session.state.occupancy(session.network) if each.size)
    tile = next(fact for fact in facts(session) if fact.label == "Highest loading")
    assert (tile.value, tile.remark) == (f"{highest:.1f} %", "of its limit, now")
    kept = session.history.of_element(Element("line", worst), session.network.n_line)["loading, % of limit"]
    assert kept[-1] == pytest.approx(share, rel=1e-6)


def test_a_bus_with_several_kinds_of_peers_is_none_of_them():
    session = session_of(done=1)
    population = session.simulation.context.population
    population.bus.setflags(write=True)
    kinds = population.kind()
    first = int(population.bus[0])
    other = int(np.flatnonzero(kinds != kinds[0])[0])
    population.bus[other] = first
    groups = {each.get("data-key"): each for each in drawn(grid_map(session)).iter(f"{SVG}g") if each.get("data-key")}
    signs = [each.get("class") for each in groups[f"bus:{first}"] if "node" in (each.get("class") or "")]
    assert signs == ["node mixed"]


def test_peers_without_supply_are_told_of_and_crossed_out():
    session = session_of(done=0)
    last = session.network.lines.name[-1]
    assert not any(fact.label == "Without supply" for fact in facts(session))
    session.cut(last)
    session.step()
    dead = np.isnan(session.state.vm_pu[session.simulation.context.population.bus])
    assert dead.any()
    tile = next(fact for fact in facts(session) if fact.label == "Without supply")
    assert tile.alarm
    assert tile.value == f"{dead.sum()} {'peer' if dead.sum() == 1 else 'peers'}"
    root = drawn(grid_map(session))
    assert len([each for each in with_class(root, "buses")[0].iter() if each.get("class") == "dead"]) == len(
        set(session.simulation.context.population.bus[dead].tolist())
    )
    assert "no supply" in next(
        each.get("data-tip")
        for each in root.iter(f"{SVG}g")
        if each.get("data-key") == f"bus:{session.simulation.context.population.bus[dead][0]}"
    )


def test_buses_out_of_their_band_stand_in_a_diamond_with_their_voltage():
    session = session_of(grid__min_vm_pu=0.999, grid__max_vm_pu=1.5)
    found = session.state.violations(session.network)
    diamonds = [each for each in with_class(drawn(grid_map(session)), "diamond") if each.get("d").count(" ") > 2]
    marks = [each for each in with_class(drawn(grid_map(session)), "marks")[0] if each.get("class") == "diamond"]
    assert found.low_voltage.any()
    assert len(marks) == found.low_voltage.sum()
    assert diamonds
    texts = [each.text for each in with_class(drawn(grid_map(session)), "flag-text")]
    assert f"▼ {np.nanmin(session.state.vm_pu):.3f}" in texts


def broken_case() -> GridCase:
    """The small feeder with a second period that no power flow can solve."""
    case = small_case(4)
    heavy = case.series.values.copy()
    heavy[1] *= 2_000.0
    series = type(case.series)(case.series.start, case.series.step_s, case.series.columns, heavy)
    return GridCase(case.name, case.network, case.units, series)


def test_a_period_without_a_solution_says_so_and_the_page_goes_on():
    session = Session("small.yaml", small_scenario(4), case=broken_case())
    session.start()
    session.step()
    assert session.step()
    assert not session.state.converged
    assert "no solution" in "".join(drawn(grid_map(session)).itertext())
    for panel in (figures_panel, money_panel, market_panel):
        assert panel(session) is None or figure_json(panel(session))
    assert "not known" in tiles(session).markup
    assert session.step()
    assert session.state.converged


def test_a_run_that_stops_where_a_power_flow_fails_shows_why():
    session = Session("small.yaml", small_scenario(4, grid__on_divergence="stop"), case=broken_case())
    session.start()
    assert session.step()
    assert not session.step()
    assert "on_divergence: stop" in session.faults[0]
    assert session.ended
    assert grid_map(session) is not None
    assert session.turn(seed=5)
    assert not session.faults


def test_no_two_buses_are_drawn_on_top_of_each_other():
    network = session_of(done=0).network
    for width in (420.0, 900.0, 1400.0):
        where = fitted(network, width)
        distance = np.linalg.norm(where.xy[:, None] - where.xy[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        assert distance.min() > 12.0
        assert (where.xy > 0.0).all()
        assert (where.xy < (where.width, where.height)).all()


def test_trades_are_arcs_from_seller_to_buyer_and_can_be_filtered():
    session = session_of(done=5)
    assert not with_class(drawn(grid_map(session)), "arc")
    session.look.arcs = True
    assert len(with_class(drawn(grid_map(session)), "arc")) == len(session.result.trades)
    names = session.simulation.context.population.name
    session.look.peer = names[session.result.trades.buyer[0]]
    tips = [each.get("data-tip") for each in with_class(drawn(grid_map(session)), "arc")]
    assert tips
    assert all(session.look.peer in tip for tip in tips)


def test_names_from_a_net_cannot_break_the_picture():
    assert ET.fromstring(element("text", "x", data_tip='<b>"&\n')).get("data-tip") == '<b>"&\n'


def test_classes_and_scales_are_monotone():
    values = np.linspace(0.0, 150.0, 400)
    assert (np.diff(loading_class(values)) >= 0).all()
    assert set(loading_class(values)) == set(range(10))
    assert (np.diff(voltage_class(np.linspace(0.9, 1.1, 400))) >= 0).all()
    assert loading_class(np.array([np.nan]))[0] == -1 == voltage_class(np.array([np.nan]))[0]
    assert [nice(value) for value in (0.011, 0.2, 3.0, 70.0, 0.0)] == [0.02, 0.2, 5.0, 100.0, 1.0]


# --- numbers against the results of the same scenario ---


def test_what_the_page_says_is_what_the_results_of_the_batch_say(tmp_path):
    session = session_of()
    with Simulation(session.scenario, tmp_path / "run", small_case(8)) as simulation:
        simulation.run()
    results = Results(tmp_path / "run")
    delivery, p2p = (results.period[results.period.stage == stage] for stage in ("delivery", "p2p"))
    series = session.history.series
    assert np.allclose(series["max_occupancy_percent"], delivery.max_occupancy_percent)
    assert np.allclose(series["min_vm_pu"], delivery.min_vm_pu)
    assert np.allclose(series["traded_mwh"], p2p.p2p_volume_mwh)
    assert session.history.total("saved_eur") == pytest.approx(results.kpi["saving_peers_eur"], abs=1e-9)
    assert session.history.total("traded_mwh") == pytest.approx(results.kpi["p2p_volume_mwh"])
    assert session.history.total("losses_mwh") == pytest.approx(results.kpi["losses_mwh"])
    money = dict(zip(MONEY, session.history.money[-1], strict=True))
    for role in ("peers", "supplier", "dso", "outside"):
        assert money[role] == pytest.approx(results.kpi[f"money_{role}_eur"], abs=1e-9)
    assert money["mediator"] == pytest.approx(results.kpi["money_market_eur"], abs=1e-9)


def test_the_archive_holds_the_results_so_far(tmp_path):
    session = session_of(done=3)
    packed = results_archive(session.scenario, 3, session.case)
    zipfile.ZipFile(io.BytesIO(packed)).extractall(tmp_path)
    results = Results(tmp_path / "small")
    assert results.manifest["periods_done"] == 3
    assert results.kpi["p2p_volume_mwh"] == pytest.approx(session.history.total("traded_mwh"))


def test_money_adds_up_to_nothing():
    assert session_of().history.money[-1].sum() == pytest.approx(0.0, abs=1e-9)


# --- panels ---


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"market__mechanism": "bilateral"},
        {"coordination__preset": "cm3-v2"},
        {"coordination__preset": "cm4"},
        {"coordination__preset": "cm5"},
        {"market__mechanism": "continuous_double_auction"},
        {"market__mechanism": "admm"},
    ],
)
def test_every_panel_draws_every_kind_of_market(changes):
    session = congested(**changes)
    session.pin_run()
    session.look.arcs = True
    assert not session.faults
    for panel in (figures_panel, money_panel, market_panel, convergence_panel, flexibility_panel):
        if (figure := panel(session)) is not None:
            figure_json(figure)
    for key in PAIRS:
        session.look.pairs = key
        if (figure := pairs_panel(session)) is not None:
            figure_json(figure)
    for drawing in (grid_map(session), sequence_panel(session)):
        drawn(drawing)
    for key in ("bus:2", "line:1", "trafo:0"):
        session.look.pinned = Element.of(key)
        figure_json(element_panel(session))
    assert trades_panel(session) is not None
    assert facts(session)


def test_a_market_that_is_not_cleared_is_a_tile_of_alarm():
    assert not [fact for fact in facts(session_of(done=2)) if fact.label == "Not cleared"]
    session = session_of(done=2, market__mechanism="bilateral", market__options={"max_iter": 3})
    (tile,) = (fact for fact in facts(session) if fact.label == "Not cleared")
    ends = [float(value) for value in session.history.series["uncleared"]]
    assert ends == [0.0, 1.0]
    assert (tile.value, tile.remark, tile.alarm) == ("1 of 2 periods", "now: market", True)


def test_every_panel_stands_an_empty_page():
    session = session_of(done=0)
    for panel in (
        money_panel,
        market_panel,
        convergence_panel,
        flexibility_panel,
        pairs_panel,
        trades_panel,
        sequence_panel,
    ):
        assert panel(session) is None
    figure_json(figures_panel(session))
    assert facts(session) == []


def test_the_clearing_point_lies_where_the_market_cleared():
    session = session_of(done=5)
    trades = session.result.trades
    point = next(trace for trace in market_panel(session).data if trace["name"] == "cleared")
    assert point["x"] == [pytest.approx(1e3 * trades.volume_mw)]
    assert point["y"] == [pytest.approx(float(trades.p_mw @ trades.price_eur_per_mwh) / trades.volume_mw)]


def test_supply_rises_and_demand_falls():
    traces = {trace["name"]: trace for trace in market_panel(session_of(done=5)).data}
    assert (np.diff(traces["supply"]["y"]) >= 0.0).all()
    assert (np.diff(traces["demand"]["y"]) <= 0.0).all()


def test_a_negotiation_shows_how_it_converged():
    session = session_of(done=5, market__mechanism="admm")
    record = session.result.clearing.convergence
    assert session.result.clearing.status == "optimal"
    powers, prices = figure_json(convergence_panel(session))["data"]
    assert powers["x"] == prices["x"] == list(range(1, record.dual_residual.size + 1))
    assert prices["y"] == np.maximum(record.dual_residual, 1e-12).tolist()
    assert max(powers["y"][-1], prices["y"][-1]) <= 1e-4 < max(powers["y"][0], prices["y"][0])
    assert min(powers["y"]) > 0.0  # the axis is logarithmic


def test_a_negotiation_that_does_not_come_to_an_end_says_so_and_shows_how_far_it_came():
    session = session_of(done=5, market__mechanism="admm", market__options={"max_rounds": 12})
    assert session.result.clearing.status == "not_converged"
    assert not len(session.result.trades)
    assert len(figure_json(convergence_panel(session))["data"][0]["x"]) > 5
    assert not session.faults
    assert session.step()


def test_the_order_book_shows_what_the_continuous_market_left():
    session = session_of(done=5, market__mechanism="continuous_double_auction")
    bids, asks, trades = figure_json(order_book_panel(session))["data"]
    offered = session.result.bids.p_max_mw + session.result.bids.p_min_mw
    sold = sum(trades["y"])
    assert sold > 0.0
    assert sold == pytest.approx(1e3 * session.result.trades.volume_mw)
    for side, total in ((asks, offered[offered > 0.0].sum()), (bids, -offered[offered < 0.0].sum())):
        assert (side["y"][-1] if side["y"] else 0.0) + sold == pytest.approx(1e3 * total)
    assert asks["x"] == sorted(asks["x"])
    assert bids["x"] == sorted(bids["x"], reverse=True)
    if asks["x"] and bids["x"]:
        assert bids["x"][0] < asks["x"][0]  # nothing is left that could still trade
    assert order_book_panel(session_of(done=5)) is None


def test_a_flexibility_market_shows_what_was_offered_and_activated():
    session = session_of(done=5, coordination__preset="cm2", grid__max_loading_percent=2.0)
    offered, activated = flexibility_panel(session).data
    last = session.result.flexibility[-1]
    assert sum(offered["width"]) == pytest.approx(1e3 * last.offered_mw[last.offered_mw > 1e-9].sum())
    assert sum(width or 0.0 for width in activated["width"]) == pytest.approx(1e3 * last.activated_mw.sum(), abs=1e-6)


def test_blocked_pairs_are_a_matrix_with_crosses():
    session = congested(coordination__preset="cm3-v1", coordination__scheme_options={"threshold_percent": 1.0})
    session.look.pairs = "blocked"
    figure = pairs_panel(session)
    signals = next(each.signals for each in session.result.rounds if each.signals is not None)
    crosses = sum(cell == "×" for row in figure.data[0]["text"] for cell in row)
    assert crosses == signals.blocked.sum() > 0


def test_the_sequence_fills_step_by_step_and_counts_every_message():
    session = session_of(communication__loss=0.3)
    steps = told(session)
    assert sum(step.n for step in steps) == sum(message.n for message in session.result.messages)
    assert sum(step.lost for step in steps) > 0
    assert "lost" in "".join(drawn(sequence_panel(session)).itertext())
    session.look.told = 2
    root = drawn(sequence_panel(session))
    assert len({id(each) for each in with_class(root, "pw-later") if each.tag.endswith("}g")}) == len(steps) - 2


@pytest.mark.parametrize("preset", [None, "cm2", "cm4", "cm5"])
def test_messages_and_stages_come_in_the_order_of_the_clock(preset):
    session = congested(done=5, coordination__preset=preset)
    session.look.unit = "message"
    before, seen, times = session.period, [], []
    while advance(session) and session.period == before + 1:
        seen.append(session.look.stage)
        times.append(clock(session))
        shown = session.look.told
        root = drawn(sequence_panel(session))
        later = [each for each in with_class(root, "pw-later") if each.tag.endswith("}g")]
        assert len(later) == (0 if shown is None else len(told(session)) - shown)
        if shown is None:
            break
    reached = list(dict.fromkeys(seen))
    assert len(seen) == len(told(session))
    assert reached[-1] == "delivery"
    assert set(reached) <= set(session.stages)
    assert [stage for stage, _ in stops(session, told(session)) if stage in reached] == reached
    assert times[:-1] == sorted(times[:-1])
    assert times[-1] == f"{session.simulation.now:%a %Y-%m-%d %H:%M}"


def test_a_stage_is_told_with_the_messages_that_led_to_it():
    session = congested(done=5, coordination__preset="cm4")
    session.look.unit = "stage"
    kinds = {}
    for _ in session.stages:
        assert advance(session)
        steps = told(session)
        shown = len(steps) if session.look.told is None else session.look.told
        kinds[session.look.stage] = {step.kind for step in steps[:shown]}
    assert list(kinds) == ["forecast", "p2p", "final", "delivery"]
    assert kinds["forecast"] == set()
    assert "ProposedTrades" in kinds["p2p"]
    assert "FlexibilityNeed" not in kinds["p2p"]
    assert "FlexibilityResult" in kinds["final"]
    assert "MeterReadings" in kinds["delivery"] - kinds["final"]
    assert session.period == 6


def test_going_back_shows_the_grid_as_it_was_then():
    session = session_of(done=5)
    steps = told(session)
    go_to(session, steps, 0)
    assert session.state is session.result.states["forecast"]
    assert session.frame == "5+0"
    go_to(session, steps, len(steps))
    assert session.state is session.result.states["delivery"]
    assert session.frame == "5"


# --- three phases ---


def by_phase(load_mw: float = 0.004, **changes) -> Session:
    """A session whose network has zero sequence data."""
    session = Session("small.yaml", small_scenario(6, **changes), case=three_phase_case(6, load_mw=load_mw))
    assert session.start(), session.faults
    for _ in range(4):
        session.step()
    session.look.phase = "a"
    return session


@pytest.fixture(scope="module")
def phased() -> Session:
    return by_phase()


def test_the_phases_carry_what_the_balanced_run_injects(phased):
    for phased.look.stage in ("forecast", "p2p", "delivery"):
        three, state = phased.by_phase, phased.state
        assert three.converged
        assert three.p_mw.sum(axis=1) == pytest.approx(state.p_mw, abs=1e-12)
        assert three.q_mvar.sum(axis=1) == pytest.approx(state.q_mvar, abs=1e-12)
        assert three.vuf_percent.max() > 0.01
        assert three.vm_pu.mean(axis=1) == pytest.approx(state.vm_pu, abs=2e-3)


def test_small_peers_are_on_one_phase_that_the_seed_draws(phased):
    shares = phased.phases.shares()
    size = phased.simulation.context.population.connection_mw()
    for share, own in zip(shares, size, strict=True):
        assert sorted(share) == ([0.0, 0.0, 1.0] if own <= SINGLE_PHASE_MW else pytest.approx([1 / 3] * 3))
    assert (size <= SINGLE_PHASE_MW).any()
    assert np.array_equal(shares, by_phase().phases.shares())
    assert any(not np.array_equal(shares, by_phase(seed=seed).phases.shares()) for seed in (2, 3, 4))


def test_peers_on_three_phases_make_the_balanced_grid():
    session = by_phase(load_mw=0.02)
    three, state = session.by_phase, session.state
    assert three.vm_pu == pytest.approx(np.repeat(state.vm_pu[:, None], 3, axis=1), abs=1e-6)
    assert three.vuf_percent.max() < 1e-6


@pytest.mark.slow
def test_the_phases_are_those_of_plain_pandapower():
    from peerwatt.grid.threephase import make_three_phase_engine, three_phase_from_net
    from tests.view.feeders import three_phase_net

    three = by_phase().by_phase
    plain = make_three_phase_engine("pandapower", three_phase_from_net(three_phase_net()))
    assert three.vm_pu == pytest.approx(plain.solve(three.p_mw, three.q_mvar).vm_pu, abs=1e-6)


def test_the_map_shows_the_numbers_of_the_phase_and_what_is_not_of_it(phased):
    session = phased
    session.look.stage = "delivery"
    session.look.phase = "a"
    three = session.by_phase
    for k, phase in enumerate("abc"):
        session.look.phase = phase
        drawing = grid_map(session)
        tips = {each.get("data-key"): each.get("data-tip") for each in drawn(drawing).iter() if each.get("data-key")}
        assert f"voltage {three.vm_pu[4, k]:.4f} pu" in tips["bus:4"]
        assert f"VUF {three.vuf_percent[4]:.2f} %" in tips["bus:4"]
        assert f"loading {three.line.loading_percent[1, k]:.1f} %" in tips["line:1"]
        assert "trading and limits are those of the balanced run" in drawing.caption
        assert f"{np.nanmax(three.vuf_percent):.2f} %" in drawing.caption
    session.look.phase = ""
    assert grid_map(session).caption == ""
    session.look.phase = "a"


def test_a_cut_line_is_out_of_service_in_every_phase():
    session = by_phase()
    session.cut(session.network.lines.name[2])
    session.step()
    assert np.isnan(session.by_phase.vm_pu[4:]).all()
    assert np.isfinite(session.by_phase.vm_pu[:4]).all()


def test_a_network_without_zero_sequence_is_balanced_only_and_says_why():
    session = session_of(done=1)
    session.look.phase = "b"
    assert "no zero sequence data: r0_ohm_per_km" in session.phases.refused
    assert session.by_phase is None or session.phases.refused
    session.turn(seed=3)
    assert session.look.phase == ""


def test_data_that_turn_out_not_to_do_are_told_and_the_balanced_grid_stays():
    session = by_phase()
    text = session.simulation.case.network.pandapower_json.replace("Dyn", "Xyz")
    object.__setattr__(session.simulation.context.network, "pandapower_json", text)
    assert session.by_phase is None
    assert "Xyz" in session.phases.refused
    assert session.look.phase == ""
    assert drawn(grid_map(session)) is not None


@pytest.mark.slow
def test_the_test_feeder_has_its_own_phases():
    from peerwatt.grid.threephase import load_three_phase, make_three_phase_engine

    changes = {"grid.case": "ieee-eu-lv", "time.periods": 1, "forecast.load_error": 0, "population.demand_response": {}}
    session = Session("feeder", Scenario().replace(changes))
    session.start()
    session.step()
    session.look.phase = "a"
    network = load_three_phase("ieee-eu-lv")
    wanted = make_three_phase_engine("power-grid-model", network).solve(network.p_mw, network.q_mvar)
    assert session.by_phase.p_mw == pytest.approx(network.p_mw, abs=1e-12)
    assert session.by_phase.vm_pu == pytest.approx(wanted.vm_pu, abs=1e-9)
    assert "those of the network" in grid_map(session).caption


# --- controls ---


def test_turning_a_control_starts_again_with_the_same_seed():
    session = session_of(done=5)
    assert session.turn(max_loading_percent=40.0)
    assert session.period == 0
    assert session.scenario.seed == session.base.seed
    assert session.scenario.grid.max_loading_percent == 40.0
    first = session_of(done=5, grid__max_loading_percent=40.0).history.series
    for _ in range(5):
        session.step()
    assert session.history.series == first


def test_a_changed_run_can_go_on_to_the_time_of_the_one_before():
    session = session_of(done=5)
    session.look.keep_time = True
    session.turn(preset="cm4")
    assert session.period == 5
    assert len(session.history) == 5


def test_each_preset_can_be_chosen_after_each_other():
    session = session_of(done=1)
    for first in ("cm5", "cm1", "cm3-v2", "cm4", "cm2", "cm3-v1", "", "cm5"):
        assert session.turn(preset=first, scheme=None, mechanism=None), (first, session.faults)


def test_settings_that_do_not_fit_leave_the_run_as_it_was_and_say_why():
    session = session_of(done=3)
    run = session.simulation
    assert not session.turn(preset="cm1", scheme="blocking")
    assert "needs service implicit" in session.faults[0]
    assert session.simulation is run
    assert session.period == 3
    assert session.turn(scheme=None)
    assert not session.faults


def test_a_cut_line_is_out_of_service_from_now_on_and_the_past_stays():
    session = session_of(done=4)
    before = {name: list(values) for name, values in session.history.series.items()}
    name = session.network.lines.name[2]
    assert session.cut(name)
    assert session.period == 4
    assert session.history.series == before
    assert session.network.lines.in_service.all()
    session.step()
    assert not session.network.lines.in_service[2]
    assert with_class(drawn(grid_map(session)), "cross")
    assert "out of service" in drawn(grid_map(session)).find(f".//{SVG}g[@data-key='line:2']").get("data-tip")
    session.restore()
    session.step()
    assert session.network.lines.in_service.all()


def test_messages_are_lost_on_demand_for_a_while_and_the_past_stays():
    session = session_of(done=3)
    before = {name: list(values) for name, values in session.history.series.items()}
    assert session.lose(1.0, 0.5)
    assert session.period == 3
    assert session.history.series == before
    lost = []
    for _ in range(4):
        session.step()
        lost.append(
            all(message.delivered_s < 0 for message in session.result.messages if message.kind == "CallForBids")
        )
    assert lost == [True, True, False, False]
    assert session.lose(0.2, None)
    session.cut(session.network.lines.name[2])
    assert [event.kind for event in session.scenario.events] == ["line_outage", "message_loss", "message_loss"]
    session.restore()
    assert session.scenario.events == ()


def test_a_pinned_run_stands_beside_the_current_one():
    session = session_of()
    session.pin_run()
    session.turn(preset="cm2")
    for _ in range(3):
        session.step()
    figure = figure_json(figures_panel(session))
    names = [trace["name"] for trace in figure["data"]]
    assert any("pinned" in name for name in names)
    assert len(money_panel(session).data) == 2


def test_the_command_line_gives_the_scenario_of_the_page():
    base = Scenario.load("lv-village", {"grid.max_loading_percent": 50})
    session = Session("lv-village", base, {"grid.max_loading_percent": 50})
    session.dials = Dials(
        preset="cm3-v1",
        threshold_percent=60.0,
        pv_share=0.5,
        seed=7,
        loss=0.1,
        strategies={"truthful": 0.4, "grid_aware": 0.6},
        ev_share=0.4,
        cut=(("LV4.101 Line 1", "2016-06-21 08:00"),),
        lost=((0.5, "2016-06-21 09:00", "2016-06-21 10:00"), (1.0, "2016-06-21 11:00", None)),
        asked=((40, 47, 0.02), (48, 95, -0.01)),
    )
    words = shlex.split(batch_command(session))
    assert words[:3] == ["peerwatt", "run", "lv-village"]
    given = parse_overrides([word for flag, word in itertools.pairwise(words) if flag == "--set"])
    wanted = base.replace(session.dials.changes(base))
    assert Scenario.load("lv-village", given).digest() == wanted.digest()
    assert Scenario.model_validate(yaml.safe_load(wanted.to_yaml())).digest() == wanted.digest()


def test_the_tso_asks_on_demand_and_its_money_is_its_own():
    session = session_of(done=2, tso={"price_eur_per_mwh": 400.0})
    assert session.ask(0.002, 0.25)
    assert session.ask(-0.002, None)
    assert session.dials.asked == ((2, session.simulation.n_periods - 1, -0.002),)
    assert session.ask(0.002, None)
    while session.step() and not session.result.regulation.accepted_mw:
        assert session.result.regulation.requested_mw == 0.002
    money = dict(zip(MONEY, session.history.money[-1], strict=True))
    assert session.result.regulation.accepted_mw > 0.0
    assert money[Role.TSO] < 0.0
    assert sum(money.values()) == pytest.approx(0.0, abs=1e-9)
    drawn(grid_map(session))
    assert session.restore()
    assert session.simulation.settings.tso.requests == ()


def test_controls_that_say_what_the_scenario_says_change_nothing():
    base = Scenario.load("lv-village")
    dials = Dials(seed=base.seed, periods=96, loss=0.0, strategies=dict(base.population.strategies))
    assert dials.changes(base) == {}


def test_runs_are_released(monkeypatch):
    session = session_of(done=2)
    seen = []
    for seed in range(5):
        seen.append(weakref.ref(session.simulation))
        session.turn(seed=seed)
        session.step()
    gc.collect()
    assert [ref() for ref in seen] == [None] * 5


@pytest.mark.slow
def test_memory_stays_flat_over_periods_and_resets():
    """A period leaves behind its row of history and nothing else; a reset leaves nothing."""
    session = Session("lv-village", Scenario.load("lv-village", {"time.periods": 1000, "time.start": "2016-06-01"}))
    session.start()

    def grown(action, times: int) -> float:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for i in range(times):
            action(i)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / 1e6

    def step(_: int) -> None:
        session.step()
        grid_map(session)

    def reset(seed: int) -> None:
        session.turn(seed=seed)
        for _ in range(10):
            session.step()

    for i in range(3):  # what is made once
        reset(i)
    session.start()
    tracemalloc.start()
    try:
        step(0)
        assert grown(step, 300) < 1.5  # MB; 44 buses, 43 branches
        reset(99)
        assert grown(reset, 20) < 0.3
    finally:
        tracemalloc.stop()
