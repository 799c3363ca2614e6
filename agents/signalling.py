"""How a DSO's signals reach those who trade: the mediator of an auction gets them all, each peer its own row."""

from __future__ import annotations

from peerwatt.agents.context import Context
from peerwatt.agents.correspondence import write_peers
from peerwatt.agents.messages import BlockingList, GridSignals, TradeTerms
from peerwatt.agents.policies import SignalKind, Signals
from peerwatt.market.mechanism import BookKind

__all__ = ["send_signals"]


def send_signals(context: Context, sender: str, signals: Signals, number: int) -> None:
    """Send signals to the mediator, or to the peers that trade bilaterally.

    Args:
        context: the run.
        sender: name of the DSO.
        signals: what it has to say.
        number: round that they are for, counted in the period.
    """
    if context.mechanism.book is BookKind.STEPS:
        costs = (signals.seller_cost, signals.buyer_cost)
        alone = (signals.feed_cause, signals.draw_cause)
        message = GridSignals(sender, context.market, context.now.period, signals.cause, *costs, *alone)
        context.bus.send((message,))
        return
    key = context.round_number(number)
    if signals.kind is SignalKind.BLOCKING:
        causes = (key, signals.cause, signals.cause.T, signals.feed_cause, signals.draw_cause)
        write_peers(context, BlockingList, sender, causes, only=context.traders)
    else:
        terms = (key, signals.seller_cost, signals.buyer_cost.T)
        write_peers(context, TradeTerms, sender, terms, only=context.traders)
