"""The distribution system operator: sees the grid, and tells each peer of its own connection point.

It evaluates the grid before any trade (`forecast`), after each round of trading (`p2p`), after the flexibility market
(`final`) and with what the meters say (`delivery`). It knows of trades their quantities only. With a scheme it sends
signals before peers negotiate; where proposed trades violate a limit it sends the market back to negotiate, and buys
flexibility for what is left. For an explicit service it asks peers for capacity instead, and checks what they give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from operator import itemgetter

import numpy as np
from mesa import Model

from peerwatt.agents.context import DSO, FMO, SUPPLIER, TSO, Context, Process, Role
from peerwatt.agents.coordination import Addressed, Sequence, Service
from peerwatt.agents.correspondence import write_peers
from peerwatt.agents.delivery import carried_out
from peerwatt.agents.devices import N_PRODUCTS
from peerwatt.agents.directive import Directive
from peerwatt.agents.dues import dues
from peerwatt.agents.iteration import Iteration
from peerwatt.agents.messages import (
    ConnectionState,
    FloatArray,
    Message,
    MeterReadings,
    ProposedTrades,
    Renegotiation,
)
from peerwatt.agents.metering import Meters, at_voltage
from peerwatt.agents.offers import DIRECTION
from peerwatt.agents.orders import Baseline, RegulationAnswer, RegulationNotice, RegulationReadings
from peerwatt.agents.policies import Checked, GridView, IterativePolicy, Measures, SignalKind, Signals
from peerwatt.agents.policies.limits import Margins, network_limits
from peerwatt.agents.policies.request import NO_AREA, capacity_requests
from peerwatt.agents.records import Extremes, RoundRecord
from peerwatt.agents.services import (
    CapacityDelivery,
    CapacityNeed,
    CapacityRequest,
    FlexibilityNeed,
    FlexibilityResult,
    Verdict,
)
from peerwatt.agents.shortfall import Shortfall
from peerwatt.agents.signalling import send_signals
from peerwatt.agents.timetable import FlexibilityWindow, Round
from peerwatt.grid.state import GridState
from peerwatt.grid.trade_effect import FlowModel

__all__ = ["Dso"]

_STUCK_MW = 1e-9
_MET_MW = 1e-6


class Dso(Role):
    """Runs the power flow at each stage and acts on what it sees.

    Args:
        model: the Mesa model.
        context: what it can reach.
    """

    def __init__(self, model: Model, context: Context) -> None:
        super().__init__(model, context, DSO)
        self._meters = Meters(context)
        policy = context.design.policy()
        self._iteration = Iteration(context, policy, DSO) if isinstance(policy, IterativePolicy) else None
        self._policy = None if isinstance(policy, IterativePolicy) else policy
        self._explicit = context.design.service is Service.EXPLICIT
        addresses = context.design.addresses
        self._cares = {"congestion": Addressed.CONGESTION in addresses, "voltage": Addressed.VOLTAGE in addresses}
        self._signals: Signals | None = None
        self._proposed: ProposedTrades | None = None
        self._before: FloatArray | None = None  # (n_peers,) net trades of the round before
        self._unsettled: FloatArray | None = None  # (n_peers,) trades for which flexibility was bought last
        self._next_round = self._next_cycle = 0
        self._regulation: RegulationNotice | None = None
        self._baseline: Baseline | None = None
        self._without_request: GridState | None = None
        self._forecast: GridState
        self._state: GridState

    def run(self) -> Process:
        """The course of a period: rounds of trading, flexibility, delivery."""
        context = self.context
        for period in count():
            start_s = period * context.period_s
            yield context.clock.until(start_s)
            self._open()
            for time_s, act in self._agenda():
                yield context.clock.until(start_s + time_s)
                yield from act()
            yield context.clock.until(start_s + context.timetable.delivery_s)
            if context.design.lfm:
                self._take_stock()
                self._evaluate("final", self._schedule(self._change()))
            self._deliver()

    def overheard(self, message: Message) -> None:
        """Take note of proposals, also of those that come while it waits for the FMO."""
        if message.period != self.context.now.period:
            return
        if type(message) is ProposedTrades:
            self._proposed = message
        elif type(message) is RegulationNotice:
            self._regulation = message
        elif type(message) is Baseline:
            self._baseline = message

    def _open(self) -> None:
        context = self.context
        self._signals = self._proposed = self._before = self._regulation = None
        self._baseline = self._without_request = None
        if self._iteration is not None:
            self._iteration.begin()
        self._unsettled = None
        self._next_round, self._next_cycle = 0, 0
        self._forecast = self._evaluate("forecast", self._schedule(np.zeros(len(context.population))))
        self._state = self._forecast
        if self._explicit:  # capacity is traded, no energy
            context.now.states["p2p"] = self._forecast

    def _agenda(self) -> Iterator[tuple[int, Callable[[], Process]]]:
        """What is due when, in order; what turns out not to be needed does nothing when its time comes."""
        timetable, items = self.context.timetable, []
        begin = self._ask if self._explicit else self._signal
        for number, round_ in enumerate(timetable.rounds):
            items.append((round_.signal_s, 2, partial(begin, number)))
            items.append((round_.check_s, 0, partial(self._check, number)))
        items += [(window.need_s, 1, partial(self._buy, window)) for window in timetable.windows]
        for time_s, _, act in sorted(items, key=itemgetter(0, 1)):
            yield time_s, act

    # --- trading ---

    def _signal(self, number: int) -> Process:
        """Tell peers, or the mediator, what the grid bears."""
        context = self.context
        if number != self._next_round:
            return
        if self._iteration is not None:
            self._iteration.tell(number)
            self._signals = self._iteration.measures.signals
        if self._policy is None:
            return
        round_ = context.timetable.rounds[number]
        state = self._without_trades() if round_.number == 0 else self._state
        if not state.converged:
            return  # no sensitivities: peers that wait for a list will not trade
        with context.spend("signals"):
            view = GridView(context.network, state, context.population.bus)
            signals = self._policy.signals(view, round_.number)
        self._signals = signals
        send_signals(context, self.name, signals, number)
        yield from ()

    def _check(self, number: int) -> Process:
        """Evaluate what is traded; begin again where a limit is violated and a round is left."""
        context = self.context
        if number != self._next_round:
            return
        self._listen()
        self._take_stock()
        self._state = self._evaluate("final" if self._explicit else "p2p", self._schedule(self._change()))
        self._compare()
        round_ = context.timetable.rounds[number]
        self._next_round = -1
        left = context.design.rounds - round_.number - 1
        if self._iteration is not None:
            before = self._iteration.measures
            more = self._iteration.check(self._checked(), left)
            context.now.limits_met = self._iteration.solved
            self._record(round_, before)
        else:
            self._record(round_)
            more = left > 0 and self._violated(self._state) and not self._stuck(round_)
        if more:
            self._call_again(number + 1)
        elif self._regulation is not None:
            self._answer(self._regulation)
        yield from ()

    def _compare(self) -> None:
        """Evaluate what would be traded without the TSO's request.

        Without it there would be no round after the first that violates nothing, so that one counts; where all violate
        something, the last.
        """
        if self._baseline is None or (self._without_request is not None and not self._violated(self._without_request)):
            return
        self._without_request = self._solve(self._schedule(self._baseline.p_change_mw))

    def _checked(self) -> Checked:
        """What has become of the measures, for the policy to go on from."""
        context, change, state = self.context, self._change(), self._state
        forecast, iteration = context.now.forecast, self._iteration
        assert iteration is not None

        def trial(reactive: FloatArray) -> GridState:
            return self._solve(self._schedule(change, replace(iteration.directive, reactive=reactive)))

        return Checked(
            GridView(context.network, state, context.population.bus),
            not self._violated(state),
            **self._cares,
            change_mw=change,
            generates=forecast.generation_mw > _STUCK_MW,
            consumes=forecast.load_mw < -_STUCK_MW,
            reacts=(forecast.load_mvar != 0.0) | (forecast.generation_mvar != 0.0),
            virtual=context.population.virtual > 0.0,
            trial=trial,
        )

    def _answer(self, notice: RegulationNotice) -> None:
        """Tell the TSO what it gets, and what stands against the rest."""
        context, iteration = self.context, self._iteration
        accepted = float(-self._change() @ context.population.virtual)
        met = abs(accepted) >= abs(notice.p_mw) - _MET_MW
        branch, bus = (-1, -1) if met or iteration is None else iteration.worst
        answer = RegulationAnswer(self.name, notice.sender, context.now.period, notice.p_mw, accepted, branch, bus)
        context.bus.send((answer,))

    def _stuck(self, round_: Round) -> bool:
        """Whether a list that blocks more has changed nothing: what is violated is so without trades."""
        signals = self._signals
        blocks = signals is not None and signals.kind is SignalKind.BLOCKING
        return blocks and round_.number > 0 and self.context.now.rounds[-1].residual_mw < _STUCK_MW

    def _call_again(self, number: int) -> None:
        context = self.context
        self._next_round = number
        self._next_cycle = context.timetable.rounds[number].cycle
        if not self._explicit:  # there the next request says so
            context.bus.send((Renegotiation(self.name, context.market, context.now.period, number),))

    def _listen(self) -> None:
        for message in self.inbox.take():
            self.overheard(message)

    def _record(self, round_: Round, measures: Measures | None = None) -> None:
        context, state, n = self.context, self._state, len(self.context.population)
        found, proposed = state.violations(context.network), self._proposed
        net = np.zeros(n)
        volume = 0.0
        if proposed is not None:
            np.add.at(net, proposed.seller, proposed.p_mw)
            np.subtract.at(net, proposed.buyer, proposed.p_mw)
            volume = float(proposed.p_mw.sum())
        residual = np.nan if self._before is None else float(np.abs(net - self._before).sum())
        self._before = net
        context.now.rounds.append(
            RoundRecord(
                round_.cycle,
                round_.number,
                self._signals,
                found.n_congested,
                found.n_voltage,
                state.overflow_sum_mw(context.network) if state.converged else np.nan,
                volume,
                residual,
                state.converged,
                measures,
                Extremes.of(context.network, state),
            )
        )

    # --- capacity ---

    def _ask(self, number: int) -> Process:
        """Ask the peers behind violated limits for capacity; in a later round for what is still needed."""
        context, population, state = self.context, self.context.population, self._state
        if number != self._next_round or not (state.converged and self._violated(state)):
            return
        n, period = len(population), context.now.period
        rows = np.arange(n) if context.traders is None else context.traders
        connection_mw = population.connection_mw()[rows]
        with context.spend("signals"):
            view = GridView(context.network, state, population.bus[rows], FlowModel.AC)
            found = capacity_requests(view, connection_mw, **self._cares)
        area, share, total, direction = np.full(n, NO_AREA), np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.int64)
        area[rows], share[rows] = found.area, found.shares_mw(connection_mw)
        asked = np.flatnonzero(area != NO_AREA)
        if not asked.size:
            return
        total[asked], direction[asked] = found.p_mw[area[asked]], found.direction[area[asked]]
        gate_s = float(period * context.period_s + context.timetable.rounds[number].gate_s)
        context.bus.send((CapacityNeed(self.name, context.market, period, number, area, share),))
        write_peers(context, CapacityRequest, self.name, (number, total, direction, gate_s), only=asked)
        yield from ()

    # --- flexibility ---

    def _buy(self, window: FlexibilityWindow) -> Process:
        """Buy flexibility for what is violated; where AC still finds a violation, with tightened limits.

        Of all results the one stands that leaves least beyond the limits by AC, the first of equals; none where that
        would leave less.
        """
        context, period = self.context, self.context.now.period
        if window.cycle != self._next_cycle:
            return
        unrelated = context.design.sequence is Sequence.UNRELATED
        change = np.zeros(len(context.population)) if unrelated else self._change()
        state = self._forecast if unrelated else self._state
        if not (state.converged and self._violated(state)):
            return
        mvar_per_mw = self._mvar_per_mw()
        by_node = np.append((DIRECTION * mvar_per_mw[context.connection]).T.ravel(), np.zeros(len(context.connection)))
        view = GridView(context.network, state, np.tile(context.connection, N_PRODUCTS + 1), FlowModel.AC)
        margins = Margins.none(len(view.flow_mw), context.network.n_bus)
        best, left, bought = -1, self._shortfall(state), False
        for correction in range(context.lfm.corrections + 1):
            limits = network_limits(view, margins, **self._cares, mvar_per_mw=by_node)
            context.bus.send((FlexibilityNeed(self.name, FMO, period, window.cycle, correction, limits),))
            result = yield from self.wait_for(FlexibilityResult)
            if not result.solved:
                break
            after = self._solve(self._schedule(change, result=result, mvar_per_mw=mvar_per_mw))
            found = self._shortfall(after)
            if found.less_than(left) or (best < 0 and after.converged and not left.less_than(found)):
                best, left, bought = correction, found, result.activates
            if not (after.converged and self._violated(after)):
                break
            margins = margins.tightened(GridView(context.network, after, context.connection))
        context.bus.send((Verdict(self.name, FMO, period, best),))
        self._unsettled = change
        following = [k for k, each in enumerate(context.timetable.rounds) if each.cycle == window.cycle + 1]
        if following and bought:
            self._call_again(following[0])

    def _take_stock(self) -> None:
        """Note what the last flexibility market has left, once everybody knows what is activated."""
        change, flexibility = self._unsettled, self.context.now.flexibility
        if change is None:
            return
        undone = self._undone_mw()
        left = self._shortfall(self._solve(self._schedule(change if undone is None else undone)))
        flexibility[-1] = replace(flexibility[-1], missing_mw=left.mw, missing_pu=left.worst_pu)
        self._unsettled = None

    def _shortfall(self, state: GridState) -> Shortfall:
        return Shortfall.of(self.context.network, state, **self._cares)

    def _mvar_per_mw(self) -> FloatArray:
        """Reactive power that comes with each MW of each product at each bus, (n_bus, n_products), of all its peers."""
        context = self.context
        return context.now.forecast.at_buses(context.population.bus, context.network.n_bus).reactive_per_mw

    # --- delivery ---

    def _deliver(self) -> None:
        context, now, population = self.context, self.context.now, self.context.population
        now.p_followed_mw = population.p_change_mw.copy()
        now.p_activated_mw = carried_out(
            population.directive,
            now.forecast,
            now.realised,
            now.position,
            now.battery_mw,
            now.p_followed_mw,
            population.p_activated_mw,
        )
        now.p_delivered_mw, now.q_delivered_mvar = population.directive.schedule(
            now.realised, now.position, now.battery_mw, now.p_followed_mw, now.p_activated_mw
        )
        p_mw, q_mvar = self._at_buses(now.p_delivered_mw, now.q_delivered_mvar)
        state = self._evaluate("delivery", (p_mw + self._outside(now.outside_mw), q_mvar))
        if state.converged:
            dead = np.isnan(state.vm_pu[[fsp.bus for fsp in context.outside]])
            now.outside_mw[dead] = now.outside_eur[dead] = 0.0  # cut off: nothing is delivered
            now.p_delivered_mw, now.q_delivered_mvar = at_voltage(context, state)
            write_peers(context, ConnectionState, self.name, self._meters.at_connections(state))
        context.bus.send((MeterReadings(self.name, SUPPLIER, now.period, now.p_delivered_mw, state.losses_mw),))
        if context.has_tso:
            self._tell_exchange(state)
        if self._explicit:
            delivered = np.minimum(now.p_activated_mw, population.p_activated_mw).sum(axis=1)
            done = CapacityDelivery(self.name, context.market, now.period, delivered)
            context.bus.send((done,))
        now.entries += dues(context, self._proposed, self._signals)

    def _tell_exchange(self, state: GridState) -> None:
        """Tell the TSO what its grid exchanges with this one, its virtual load apart.

        What counts as provided is by how much the exchange is scheduled otherwise than in the same market without the
        request: energy that would have been traded and fed in anyway is no regulation.
        """
        context, now = self.context, self.context.now
        accepted = float(-now.p_change_mw @ context.population.virtual)
        planned = now.states["p2p"].slack_p_mw - accepted
        without = self._without_request
        provided = 0.0 if without is None else without.slack_p_mw - planned
        delivered = state.slack_p_mw - float(-now.p_delivered_mw @ context.population.virtual)
        context.bus.send((RegulationReadings(self.name, TSO, now.period, planned, delivered, provided),))

    # --- the grid ---

    def _change(self) -> FloatArray:
        """What the market has told; nothing changes where it has not, (n_peers,)."""
        self._listen()
        proposed, undone = self._proposed, self._undone_mw()
        if undone is not None:
            return undone
        return np.zeros(len(self.context.population)) if proposed is None else proposed.p_change_mw

    def _undone_mw(self) -> FloatArray | None:
        """What trading changes less what a mediator has undone, (n_peers,); None where it schedules nothing."""
        padding = self.context.now.padding
        return None if padding is None else padding.change_mw + padding.scheduled_mw

    def _without_trades(self) -> GridState:
        """The grid before trading, with the flexibility that is activated so far."""
        now = self.context.now
        if not (now.ordered_mw.any() or now.outside_ordered_mw.any()):
            return self._forecast
        return self._solve(self._schedule(np.zeros(len(self.context.population))))

    def _schedule(
        self,
        change_mw: FloatArray,
        directive: Directive | None = None,
        result: FlexibilityResult | None = None,
        mvar_per_mw: FloatArray | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Injections at the buses that are expected when peers move by `change_mw` from their firm power.

        Args:
            change_mw: (n_peers,) by how much trading moves them.
            directive: what they are ordered; by default what they have been.
            result: flexibility that would be activated on top of what is, if any.
            mvar_per_mw: (n_bus, n_products) reactive power that comes with that of a mediator.
        """
        now = self.context.now
        if directive is None:
            iteration = self._iteration
            directive = Directive.none(len(change_mw)) if iteration is None else iteration.directive
        ordered = now.ordered_mw if result is None else now.ordered_mw + result.peer_mw
        power = directive.schedule(now.forecast, now.position, now.battery_mw, change_mw, ordered)
        p_mw, q_mvar = self._at_buses(*power)
        p_mw = p_mw + self._outside(now.outside_ordered_mw)
        if result is not None and mvar_per_mw is not None:
            p_mw = p_mw + result.aggregate_mw @ DIRECTION + self._outside(result.outside_mw)
            q_mvar = q_mvar + (result.aggregate_mw * mvar_per_mw).sum(axis=1)
        return p_mw, q_mvar

    def _outside(self, done_mw: FloatArray) -> FloatArray:
        """What resources outside the market do, (n_outside, n_products), at the buses."""
        bus = [fsp.bus for fsp in self.context.outside]
        return np.bincount(bus, done_mw @ DIRECTION, self.context.network.n_bus).astype(np.float64, copy=False)

    def _at_buses(self, p_mw: FloatArray, q_mvar: FloatArray) -> tuple[FloatArray, FloatArray]:
        population, n_bus = self.context.population, self.context.network.n_bus
        return population.at_buses(p_mw, n_bus), population.at_buses(q_mvar, n_bus)

    def _violated(self, state: GridState) -> bool:
        """Whether a limit that the DSO cares for is violated, or the power flow has no solution."""
        found, addresses = state.violations(self.context.network), self.context.design.addresses
        congested = found.n_congested > 0 and Addressed.CONGESTION in addresses
        return not state.converged or congested or (found.n_voltage > 0 and Addressed.VOLTAGE in addresses)

    def _solve(self, injections: tuple[FloatArray, FloatArray]) -> GridState:
        with self.context.spend("power flow"):
            return self.context.engine.solve(*injections)

    def _evaluate(self, stage: str, injections: tuple[FloatArray, FloatArray]) -> GridState:
        """Solve, keep the state under its stage, and stop where the scenario says so."""
        state = self._solve(injections)
        self.context.now.states[stage] = state
        self.context.on_state(stage, state)
        return state
