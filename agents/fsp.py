"""Who offers flexibility besides the peers themselves: resources outside the P2P market, and the mediator."""

from __future__ import annotations

import numpy as np
from mesa import Model

from peerwatt.agents.conducts import Relief
from peerwatt.agents.context import AGGREGATOR, Context, Process, Role
from peerwatt.agents.correspondence import read_peers, write_peers
from peerwatt.agents.devices import CURTAIL, N_PRODUCTS, RAISE, REDUCE
from peerwatt.agents.market import mean_prices
from peerwatt.agents.messages import ClearingNotice, FloatArray, IntArray
from peerwatt.agents.services import Activation, AggregateActivation, AggregateBid, CallForFlexibility, FlexibilityBid

__all__ = ["Aggregator", "OutsideProvider", "shared_out"]

_UNDOING = [REDUCE, RAISE]
"""Product that undoing a scheduled step is, by direction of the relief."""


class OutsideProvider(Role):
    """A flexible resource that is no peer: always offers what the scenario says, at its price.

    Args:
        model: the Mesa model.
        context: what it can reach.
        number: its number in `Context.outside`.
    """

    def __init__(self, model: Model, context: Context, number: int) -> None:
        super().__init__(model, context, context.outside[number].name)
        self._number = number

    def run(self) -> Process:
        """Answer calls; do what is activated."""
        own, number = self.context.outside[self._number], self._number
        while True:
            yield self.inbox.arrival()
            for message in self.inbox.take():
                now = self.context.now
                if message.period != now.period:
                    continue
                if type(message) is CallForFlexibility:
                    left = np.maximum(own.p_mw - now.outside_mw[number], 0.0)
                    bid = FlexibilityBid(self.name, message.sender, now.period, left, own.price_eur_per_mwh)
                    self.context.bus.send((bid,))
                elif type(message) is Activation:
                    now.outside_mw[number] += message.p_mw
                    now.outside_eur[number] += message.paid_eur


class Aggregator(Role):
    """The mediator on the flexibility market: offers the sum of its peers by connection point (CM1, CM3-V2).

    Peers bid to it as they would to the FMO; it wants their mean price, activates the cheapest first and pays each
    its own price, so that what is left is its margin. Besides it offers to undo what it has scheduled beyond its
    auction, if anything (`peerwatt.agents.padding`), at a price of its own.
    """

    def __init__(self, model: Model, context: Context) -> None:
        super().__init__(model, context, AGGREGATOR)

    def run(self) -> Process:
        """Answer the FMO's calls with the peers' bids; pass activations on."""
        context = self.context
        while True:
            call = yield from self.wait_for(CallForFlexibility)
            middle_s = (context.clock.now_s + int(call.gate_s)) // 2
            write_peers(context, CallForFlexibility, self.name, (float(middle_s),), only=context.traders)
            yield context.clock.until(middle_s)
            peer, fields = read_peers(context, self.inbox.take(), FlexibilityBid)
            power, price = fields or (np.zeros((0, N_PRODUCTS)), np.zeros((0, N_PRODUCTS)))
            power = _without_undoing(context, peer, power)
            bus, row = np.unique(context.population.bus[peer], return_inverse=True)
            total, mean = _aggregate(row, len(bus), power, price)
            own_bus, own_total, own_ask = self._undoing(_cheapest(power, price))
            node = np.concatenate([bus, own_bus])
            if not len(node):
                continue
            both = np.concatenate([total, own_total]), np.concatenate([mean, own_ask])
            context.bus.send((AggregateBid(self.name, call.sender, call.period, node, *both),))
            answer = yield from self.wait_for(AggregateActivation)
            n = len(bus)
            self._pass_on(peer, shared_out(answer.p_mw[:n], row, power, price), price)
            context.now.aggregate_eur[bus] += answer.paid_eur[:n]
            less, curtailed, more = np.where(np.isin(bus, own_bus)[:, None], 0.0, answer.p_mw[:n]).T
            context.conduct.saw(Relief(bus, np.stack([less, curtailed + more], axis=1)))
            self._undo(own_bus, answer.p_mw[n:], answer.paid_eur[n:])

    def _pass_on(self, peer: IntArray, activated: FloatArray, price: FloatArray) -> None:
        """Tell its peers what they have to do, and what each is paid for it, (n_bids, n_products)."""
        context = self.context
        p_mw, paid = np.zeros((2, len(context.population), N_PRODUCTS))
        p_mw[peer], paid[peer] = activated, activated * price * context.period_h
        context.now.ordered_mw += p_mw
        write_peers(context, Activation, self.name, (p_mw, paid), only=peer)

    def _undoing(self, cheapest: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Connection points at which it can undo something, what, and at which price, (n_rows, n_products) each."""
        padding = self.context.now.padding
        if padding is None:
            return np.zeros(0, dtype=np.int64), np.zeros((0, N_PRODUCTS)), np.zeros((0, N_PRODUCTS))
        padding.offered = True
        bus, row = np.unique(padding.steps.bus, return_inverse=True)
        total, price = np.zeros((len(bus), N_PRODUCTS)), np.zeros((len(bus), N_PRODUCTS))
        product = np.array(_UNDOING)[padding.steps.direction]
        np.add.at(total, (row, product), np.abs(padding.steps.p_mw))
        price[:, _UNDOING] = self.context.conduct.ask_eur_per_mwh(cheapest)
        return bus, total, price

    def _undo(self, bus: IntArray, activated: FloatArray, paid: FloatArray) -> None:
        """Tell peers what of the schedule does not take place; (n_rows, n_products) each."""
        context, now = self.context, self.context.now
        padding, clearing = now.padding, now.clearing
        if padding is None or clearing is None:
            return
        for direction, product in enumerate(_UNDOING):
            undone = padding.undo(bus, np.full(len(bus), direction), activated[:, product], paid[:, product])
        change = padding.change_mw + padding.scheduled_mw
        price = mean_prices(now.trades, len(change), clearing.spread_eur_per_mwh)
        told = (now.p_traded_mw + padding.scheduled_mw, change, price)
        write_peers(context, ClearingNotice, self.name, told, only=undone)


def _without_undoing(context: Context, peer: IntArray, power: FloatArray) -> FloatArray:
    """What peers can consume more is not sold twice where it undoes a feed-in that the mediator has scheduled."""
    padding = context.now.padding
    if padding is None:
        return power
    own = np.maximum(padding.scheduled_mw, 0.0)[peer]
    left = power.copy()
    left[:, RAISE] = np.maximum(left[:, RAISE] - own, 0.0)
    return left


def _cheapest(power: FloatArray, price: FloatArray) -> FloatArray:
    """Lowest price that a peer wants for relief of each direction, inf where none offers, (2,)."""
    lowest = np.where(power > 0.0, price, np.inf).min(axis=0, initial=np.inf)
    return np.array([lowest[REDUCE], min(lowest[CURTAIL], lowest[RAISE])])


def _aggregate(row: IntArray, n_rows: int, power: FloatArray, price: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sum of the power and its mean price by connection point, (n_rows, n_products) each."""
    total, value = np.zeros((n_rows, power.shape[1])), np.zeros((n_rows, power.shape[1]))
    np.add.at(total, row, power)
    np.add.at(value, row, power * price)
    mean: FloatArray = np.divide(value, total, out=np.zeros_like(value), where=total > 0.0)
    return total, mean


def shared_out(activated: FloatArray, row: IntArray, power: FloatArray, price: FloatArray) -> FloatArray:
    """Share what is activated at each connection point among its bids, the cheapest first.

    Args:
        activated: (n_rows, n_products) activated power.
        row: (n_bids,) connection point of each bid.
        power: (n_bids, n_products) offered power.
        price: (n_bids, n_products) prices.

    Returns:
        (n_bids, n_products).
    """
    shares = np.zeros_like(power)
    for product in range(power.shape[1]):
        order = np.lexsort((np.arange(len(row)), price[:, product], row))
        offered, at = power[order, product], row[order]
        before = np.concatenate(([0.0], offered.cumsum()[:-1]))
        first = np.searchsorted(at, at)  # where the bids of this connection point begin
        left = activated[at, product] - (before - before[first])
        shares[order, product] = np.clip(left, 0.0, offered)
    return shares
