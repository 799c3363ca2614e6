"""Key figures of who told whom how much: D5.3, Table 5's remarks on privacy and communication as measured quantities.

What counts is what arrived. A message's *numbers* are the scalars in its fields; sender, receiver, period and words are
not counted. Two types carry the grid itself between DSO and FMO, whose size is that of the grid and not of what
anybody disclosed: their messages count, their numbers do not.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from peerwatt.sim.columns import codes, numbers, strings
from peerwatt.sim.roles import Role, role_of

__all__ = ["GRID_DATA", "NUMBERS_PER_TRADE", "disclosure_figures", "numbers_per_message"]

GRID_DATA = frozenset(("FlexibilityNeed", "FlexibilityResult"))
"""Message types that carry the grid, or results by bus."""

NUMBERS_PER_TRADE = 3
"""What `ProposedTrades` has of each trade: seller, buyer, power."""


def numbers_per_message(n_peers: int, n_connections: int) -> dict[str, int]:
    """Scalars in a message of each type of `peerwatt.agents.messages`, `.services` and `.orders`.

    `ProposedTrades` has `NUMBERS_PER_TRADE` more for every trade.

    Args:
        n_peers: number of peers.
        n_connections: number of buses at which peers are.
    """
    from peerwatt.agents.flexibility import N_SEGMENTS, N_STEPS
    from peerwatt.agents.offers import PRODUCTS

    n_products = len(PRODUCTS)
    return {
        "CallForBids": 2,
        "Bid": 1 + 2 * N_STEPS,
        "Offer": 1 + 4 * N_SEGMENTS,
        "OfferWithTerms": 1 + 4 * N_SEGMENTS + 2 * n_peers,
        "BlockingList": 3 + 2 * n_peers,
        "TradeTerms": 1 + 2 * n_peers,
        "GridSignals": 3 * n_peers**2 + 2 * n_peers,
        "Renegotiation": 1,
        "ClearingNotice": 3,
        "ProposedTrades": n_peers,
        "CallForFlexibility": 1,
        "FlexibilityBid": 2 * n_products,
        "AggregateBid": n_connections * (1 + 2 * n_products),
        "Activation": 2 * n_products,
        "AggregateActivation": n_connections * 2 * n_products,
        "Verdict": 1,
        "CapacityRequest": 4,
        "CapacityNeed": 1 + 2 * n_peers,
        "CapacityOffer": 1 + 2 * n_products,
        "CapacityNotice": n_products + 3,
        "CapacityResult": 2 + n_peers,
        "CapacityDelivery": n_peers,
        "FlexibilityDirective": n_products + 4,
        "VirtualLoadRequest": 2,
        "Baseline": n_peers,
        "RegulationNotice": 1,
        "RegulationAnswer": 4,
        "RegulationReadings": 3,
        "MeterReadings": n_peers + 1,
        "ConnectionState": 2,
    }


def numbers_negotiating(n_peers: int) -> dict[str, int]:
    """Most scalars in a message of each type of `peerwatt.agents.proposals`, reached where all trade both segments.

    Args:
        n_peers: number of peers.
    """
    from peerwatt.agents.flexibility import N_SEGMENTS

    rows = N_SEGMENTS**2 * max(n_peers - 1, 0)
    return {
        "Enrolment": 1 + 2 * N_SEGMENTS + 2 * n_peers,
        "Introduction": 5 + 5 * rows,
        "TradeProposal": 2 + 2 * N_SEGMENTS**2,
        "TradeReport": 3 + rows,
        "Closing": 2,
    }


def disclosure_figures(tables: Mapping[str, pa.Table]) -> dict[str, float | int | str]:
    """Messages and numbers from each role to each other, `messages_<sender>_to_<receiver>` and `numbers_...`.

    A period with several rounds is counted as if each had proposed the trades of the last.

    Args:
        tables: `message` and `peer`; `trade` for the numbers of proposed trades, none without it.
    """
    message, peer = tables["message"], tables["peer"]
    peers = strings(peer, "agent")
    known = frozenset(peers)
    arrived = np.where(np.isnan(numbers(message, "delivered_s")), 0.0, numbers(message, "n"))
    kind, kinds = codes(message, "kind")
    per_message = numbers_per_message(len(peers), len(np.unique(numbers(peer, "bus"))))
    per_message |= numbers_negotiating(len(peers))
    content = arrived * np.array([per_message.get(each, 0) for each in kinds], dtype=np.float64)[kind]
    if "trade" in tables and "ProposedTrades" in kinds:
        about = numbers(message, "period").astype(np.intp)
        proposed = kind == kinds.index("ProposedTrades")
        trades = np.bincount(numbers(tables["trade"], "period").astype(np.intp), minlength=int(about.max()) + 1)
        content[proposed] += NUMBERS_PER_TRADE * arrived[proposed] * trades[about[proposed]]
    (sender, senders), (receiver, receivers) = codes(message, "sender"), codes(message, "receiver")
    roles = list(Role)
    place = {role: i for i, role in enumerate(roles)}
    first = np.array([place[role_of(name, known)] for name in senders], dtype=np.intp)[sender]
    second = np.array([place[role_of(name, known)] for name in receivers], dtype=np.intp)[receiver]
    way, size = first * len(roles) + second, len(roles) ** 2
    figures: dict[str, float | int | str] = {}
    for name, amount in (("messages", arrived), ("numbers", content)):
        total = np.bincount(way, amount, size)
        for each in np.unique(way).tolist():
            figures[f"{name}_{roles[each // len(roles)]}_to_{roles[each % len(roles)]}"] = int(total[each])
    return figures
