"""What the DSO pays and collects at the end of a period: flexibility that was delivered, and what signals promised."""

from __future__ import annotations

import numpy as np

from peerwatt.agents.context import Context
from peerwatt.agents.delivery import delivered_share
from peerwatt.agents.messages import ProposedTrades
from peerwatt.agents.policies import SignalKind, Signals
from peerwatt.market.settlement import Entries, Reason, settle_flexibility, settle_incentives

__all__ = ["dues"]


def dues(context: Context, proposed: ProposedTrades | None, signals: Signals | None) -> list[Entries]:
    """Entries of the ledger of the current period.

    Args:
        context: the run, after delivery.
        proposed: trades of the last round, None where the market has told none.
        signals: what trades were to pay or to be paid, if anything.
    """
    entries = _flexibility(context)
    if proposed is not None and signals is not None:
        entries += _promised(context, proposed, signals)
    return entries


def _flexibility(context: Context) -> list[Entries]:
    """Each product is paid pro rata to what is delivered of it."""
    now, population = context.now, context.population
    n = len(population)
    dso = n + 1
    share = delivered_share(now.p_activated_mw, population.p_activated_mw)
    ordered = population.directive
    told, done = ordered.p_mw.sum(axis=1), now.realised.possible(ordered.p_mw).sum(axis=1)
    moved = np.divide(done, told, out=np.ones(n), where=told > 0.0)
    by_mediator = bool(now.aggregate_eur.any())
    payer = n + 2 if by_mediator else dso
    entries = [
        settle_flexibility(np.arange(n), (share * population.flexibility_eur).sum(axis=1), operator=payer),
        settle_flexibility(np.arange(n), moved * ordered.paid_eur, operator=dso),
    ]
    if by_mediator:
        bought, delivered = np.zeros((2, *now.aggregate_eur.shape))
        np.add.at(bought, population.bus, now.ordered_mw)
        np.add.at(delivered, population.bus, np.minimum(now.p_activated_mw, now.ordered_mw))
        kept = delivered_share(delivered, bought)
        entries.append(settle_flexibility(n + 2, float((kept * now.aggregate_eur).sum()), operator=dso))
    outside = n + 3 + np.arange(len(context.outside))
    entries.append(settle_flexibility(outside, now.outside_eur.sum(axis=1), operator=dso))
    return entries


def _promised(context: Context, proposed: ProposedTrades, signals: Signals) -> list[Entries]:
    dso = len(context.population) + 1
    seller, buyer, energy = proposed.seller, proposed.buyer, proposed.p_mw * context.period_h
    entries = []
    for party, fee in ((seller, signals.seller_fee), (buyer, signals.buyer_fee)):
        amount = fee[seller, buyer] * energy
        if signals.kind is SignalKind.INCENTIVE:
            entries.append(settle_incentives(party, -amount, dso=dso))
        else:
            entries.append(Entries.of(party, dso, Reason.NETWORK_FEE, amount))
    return entries
