"""The page's controls without a browser: each is there, and turning it does what it says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import PackageNotFoundError

import ipyvuetify
import pytest
import reacton

from peerwatt.agents.strategies import STRATEGIES, strategy
from peerwatt.errors import InputError
from peerwatt.experiments.view import Html, Session
from peerwatt.experiments.view import page as page_module
from peerwatt.experiments.view import server as serving
from peerwatt.experiments.view.command import is_local
from peerwatt.experiments.view.dials import Dials
from peerwatt.experiments.view.page import page
from peerwatt.experiments.view.screen import MESSAGES_TAB, Screen
from peerwatt.experiments.view.server import Opening, opening
from peerwatt.grid.cases import GridCase
from tests.scenarios import small_case, small_scenario
from tests.view.feeders import charging_case, three_phase_case


class Rendered:
    """The page, with what a viewer can find on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, panels: tuple = (), case: GridCase | None = None) -> None:
        self.sessions: list[Session] = []
        start = Session.start

        def noted(session: Session) -> bool:
            if session not in self.sessions:
                self.sessions.append(session)
            return start(session)

        monkeypatch.setattr(Session, "start", noted)
        monkeypatch.setattr(page_module, "in_background", lambda action: action())
        begin = Opening("small.yaml", small_scenario(8), {}, case or small_case(8), panels)
        monkeypatch.setattr(serving, "_opening", [begin])
        _, self.tree = reacton.render(page(), handle_error=False)

    @property
    def session(self) -> Session:
        return self.sessions[-1]

    def find(self, kind: type, words: str):
        def named(widget) -> bool:
            label = getattr(widget, "label", "") or ""
            attributes = getattr(widget, "attributes", None) or {}
            return words in f"{label} {attributes.get('aria-label', '')} {widget.children}"

        return next(widget for widget in self.tree.find(kind).widgets if named(widget))

    def press(self, words: str) -> None:
        self.find(ipyvuetify.Btn, words).click()

    def choose(self, label: str, key: str) -> None:
        widget = self.find(ipyvuetify.Select, label)
        assert key in [item["value"] for item in widget.items]
        widget.v_model = key

    def slide(self, label: str, value: float) -> None:
        self.find(ipyvuetify.Slider, label).fire_event("change", value)

    def type_in(self, label: str, text: str) -> None:
        field = self.find(ipyvuetify.TextField, label)
        field.v_model = text
        self.find(ipyvuetify.TextField, label).fire_event("change", text)


@pytest.fixture
def rendered(monkeypatch) -> Iterator[Rendered]:
    found = Rendered(monkeypatch)
    yield found
    found.tree.close()


def test_step_and_reset(rendered):
    rendered.press("Step")
    rendered.press("Step")
    assert rendered.session.period == 2
    rendered.press("Reset")
    assert rendered.session.period == 0


def test_sliders_turn_shares_limits_and_losses(rendered):
    rendered.slide("Limit of lines", 40.0)
    rendered.slide("with PV", 50.0)
    rendered.slide("Messages lost, whole run", 10.0)
    rendered.slide("zero intelligence", 25.0)
    scenario = rendered.session.scenario
    assert scenario.grid.max_loading_percent == 40.0
    assert scenario.population.pv_share == 0.5
    assert scenario.communication.loss == 0.1
    assert scenario.population.strategies == {"truthful": 0.75, "zero_intelligence": 0.25}


def test_lists_choose_model_scheme_threshold_and_mechanism(rendered):
    rendered.choose("Conceptual model", "cm4")
    assert rendered.session.scenario.design().scheme == "blocking"
    rendered.choose("Scheme", "incentive_matrix")
    rendered.slide("Acts from", 60.0)
    assert rendered.session.scenario.coordination.scheme_options == {"threshold_percent": 60.0}
    rendered.choose("Conceptual model", "")
    rendered.choose("Mechanism", "mid_market_rate")
    assert rendered.session.scenario.mechanism == "mid_market_rate", rendered.session.faults


def test_a_scheme_cannot_be_chosen_where_the_model_has_none(rendered):
    rendered.choose("Conceptual model", "cm1")
    assert rendered.find(ipyvuetify.Select, "Scheme").disabled


def test_numbers_and_dates_are_taken_when_they_are_whole(rendered):
    rendered.type_in("Seed", "9")
    rendered.type_in("Periods", "nothing")
    assert rendered.session.scenario.seed == 9
    assert rendered.session.scenario.time.periods == 8
    rendered.find(ipyvuetify.TextField, "First day").v_model = "2030-0"
    assert not rendered.session.faults
    rendered.find(ipyvuetify.TextField, "First day").v_model = "2031-01-01"
    assert rendered.session.faults
    assert "did not work" in str([widget.children for widget in rendered.tree.find(ipyvuetify.Html).widgets])


def test_what_is_looked_at_does_not_change_the_run(rendered):
    rendered.press("Step")
    run = rendered.session.simulation
    rendered.choose("Stage of the period", "forecast")
    rendered.find(ipyvuetify.Checkbox, "trades as arcs").v_model = True
    rendered.press("Pin this run")
    for tab in (1, 2, 3):
        rendered.tree.find(ipyvuetify.Tabs).widget.v_model = tab
    assert rendered.session.simulation is run
    assert rendered.session.look.stage == "forecast"
    assert rendered.session.look.arcs
    assert rendered.session.pinned_run is not None


def test_messages_are_stepped_through(rendered):
    rendered.press("Step")
    rendered.tree.find(ipyvuetify.Tabs).widget.v_model = 2
    rendered.press("To the first message")
    rendered.press("A message on")
    assert rendered.session.look.told == 1
    rendered.press("To the next moment")
    assert rendered.session.look.told > 1
    rendered.press("All messages")
    assert rendered.session.look.told is None


def test_electric_vehicles_are_given_where_the_grid_knows_how_they_charge(monkeypatch, rendered):
    rendered.slide("with an EV", 60.0)
    assert "no EV profile" in rendered.session.faults[0]
    assert rendered.session.simulation is not None
    found = Rendered(monkeypatch, case=charging_case(8))
    assert "20 %" in str(found.find(ipyvuetify.Html, "with an EV, as the grid has it").children)
    found.slide("with an EV", 60.0)
    assert not found.session.faults
    assert found.session.scenario.population.ev_share == 0.6
    found.tree.close()


def test_messages_are_lost_from_now_on_for_a_while_and_mended(rendered):
    rendered.press("Step")
    rendered.press("Step")
    rendered.slide("Lose messages from now on", 100.0)
    rendered.choose("for", "0.25")
    rendered.press("Lose them")
    session = rendered.session
    assert session.period == 2
    assert [event.kind for event in session.scenario.events] == ["message_loss"]
    for lost in (True, False):
        rendered.press("Step")
        assert all(message.delivered_s < 0 for message in session.result.messages if message.kind == "Bid") is lost
    rendered.press("Mend all")
    assert session.scenario.events == ()
    assert session.period == 4


def test_the_tso_asks_from_now_on_and_is_mended(rendered):
    rendered.press("Step")
    rendered.slide("TSO asks from now on, above 0 up", 0.004)
    rendered.choose("asks for", "0.25")
    rendered.press("Ask")
    session = rendered.session
    assert session.period == 1
    assert [(each.from_period, each.p_mw) for each in session.scenario.tso.requests] == [(1, 0.004)]
    rendered.press("Step")
    assert session.result.regulation.requested_mw == 0.004
    rendered.press("Mend all")
    assert session.scenario.tso.requests == ()


def test_the_run_is_stepped_by_message_and_by_stage(rendered):
    rendered.choose("Step by", "message")
    session = rendered.session
    assert session.look.tab == MESSAGES_TAB
    rendered.press("Step")
    rendered.press("Step")
    assert (session.period, session.look.told, session.look.stage) == (1, 2, "forecast")
    rendered.choose("Step by", "stage")
    stages = []
    for _ in range(3):
        rendered.press("Step")
        stages.append(session.look.stage)
    assert stages == ["p2p", "delivery", "forecast"]
    assert session.period == 2
    rendered.choose("Step by", "period")
    assert session.look.told is None
    rendered.press("Step")
    assert (session.period, session.look.stage) == (3, "delivery")


def test_phases_are_switched_where_the_network_can_and_else_say_why(monkeypatch, rendered):
    def switch(page: Rendered):
        return page.find(ipyvuetify.Select, "Phases")

    assert switch(rendered).disabled
    assert "no zero sequence data" in str([each.children for each in rendered.tree.find(ipyvuetify.Html).widgets])
    found = Rendered(monkeypatch, case=three_phase_case(8))
    found.press("Step")
    assert not switch(found).disabled
    found.choose("Phases", "b")
    assert found.session.by_phase is not None
    assert found.session.look.phase == "b"
    found.tree.close()


def test_a_registered_strategy_and_a_panel_of_ones_own_appear(monkeypatch):
    monkeypatch.setattr(STRATEGIES, "_items", dict(STRATEGIES._items))
    strategy("halfway")(lambda peer: 190.0)
    seen = []

    def own(session: Session) -> Html:
        seen.append(session)
        return Html("own", "<p>mine</p>")

    found = Rendered(monkeypatch, (("Mine", own),))
    found.slide("halfway", 100.0)
    assert found.session.scenario.population.strategies == {"halfway": 1.0}
    found.tree.find(ipyvuetify.Tabs).widget.v_model = 4
    assert seen[-1] is found.session
    found.tree.close()


def test_closing_the_tab_releases_the_run(monkeypatch):
    found = Rendered(monkeypatch)
    found.press("Step")
    found.tree.close()
    assert found.session.simulation is None


def test_keys_play_step_and_reset():
    session = Session("small.yaml", small_scenario(8), case=small_case(8))
    session.start()
    drawn = []
    screen = Screen(session, lambda: drawn.append(session.period))
    screen.press("ArrowRight")
    screen.press("x")
    assert drawn == [1]
    screen.press(" ")
    assert session.look.playing
    screen.press("Home")
    assert not session.look.playing
    assert session.period == 0


def test_figures_of_the_run_before_are_marked_as_old_until_the_new_one_is_there():
    session = Session("small.yaml", small_scenario(8), case=small_case(8))
    session.start()
    waiting, drawn = [], []
    screen = Screen(session, lambda: drawn.append((session.look.computing, session.scenario.seed)), waiting.append)
    screen.turn(seed=9)
    screen.turn(seed=10)
    assert drawn == [(1, 1), (2, 1)]
    for action in waiting:
        action()
    assert drawn[2:] == [(1, 9), (0, 10)]


def test_old_figures_are_dimmed_on_the_page(monkeypatch):
    found = Rendered(monkeypatch)

    def dimmed() -> bool:
        return "is the run before" in str([each.children for each in found.tree.find(ipyvuetify.Html).widgets])

    found.press("Step")
    assert not dimmed()
    found.session.look.computing = 1
    found.press("Step")
    assert dimmed()
    found.session.look.computing = 0
    found.press("Step")
    assert not dimmed()
    found.tree.close()


def test_an_element_is_pinned_and_let_go():
    session = Session("small.yaml", small_scenario(8), case=small_case(8))
    session.start()
    screen = Screen(session, lambda: None)
    screen.pick("line:1")
    assert session.look.pinned.key == "line:1"
    screen.pick("nonsense")
    assert session.look.pinned is None
    screen.pick("bus:0")
    screen.pick("bus:0")
    assert session.look.pinned is None


def test_every_dial_is_on_the_page(rendered):
    assert {field.name for field in fields(Dials)} == {
        "preset", "scheme", "threshold_percent", "mechanism", "max_loading_percent", "pv_share", "storage_share",
        "ev_share", "strategies", "start", "periods", "seed", "loss", "cut", "lost", "asked",
    }  # fmt: skip
    assert opening().source == "small.yaml"


@pytest.mark.parametrize("local", ["127.0.0.1", "localhost", "::1"])
@pytest.mark.parametrize("open_to_others", ["0.0.0.0", "192.168.1.5", "my-machine"])
def test_addresses_that_others_can_reach_are_told_apart(local, open_to_others):
    assert is_local(local)
    assert not is_local(open_to_others)


def test_a_taken_port_is_said_before_anything_is_loaded():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be served"):
            serving.serve(small_scenario(2), port=taken.getsockname()[1])


def test_missing_packages_are_named(monkeypatch):
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(serving, "distribution", missing)
    with pytest.raises(InputError, match=r"solara-assets.*uvicorn.*pip install"):
        serving.serve(small_scenario(2))


@pytest.mark.parametrize(
    ("origin", "passes"), [("http://127.0.0.1:8765", True), ("http://evil.example", False), (None, True)]
)
def test_pages_of_other_origins_cannot_connect(origin, passes):
    reached, sent = [], []

    async def app(scope, receive, send) -> None:
        reached.append(scope)

    async def receive() -> dict:
        return {"type": "websocket.connect"}

    async def send(message) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8765"), *([(b"origin", origin.encode())] if origin else [])]
    asyncio.run(serving._SameOrigin(app)({"type": "websocket", "headers": headers}, receive, send))
    assert bool(reached) is passes
    assert bool(sent) is not passes
