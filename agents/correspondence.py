"""Writing to all peers, and reading what they answer, at both fidelities.

Messages go out group by group and are read in the order of the peers, so that both fidelities draw the same
losses and delays and build the same book.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from peerwatt.agents.context import Context
from peerwatt.agents.messages import Batch, FloatArray, IntArray, Message

__all__ = ["read_peers", "write_peers"]


def write_peers(
    context: Context,
    kind: type[Message],
    sender: str,
    fields: tuple[npt.NDArray[Any] | float | int, ...],
    only: IntArray | None = None,
) -> None:
    """Send a message to every peer, or to some.

    Args:
        context: where the peers and the bus are.
        kind: message type.
        sender: name of the agent that writes.
        fields: the type's fields; arrays (n_peers, ...), or one number for all.
        only: rows of the peers to write to; all if None.
    """
    n, period = len(context.population), context.now.period
    columns = [np.broadcast_to(field, (n,)) if np.ndim(field) == 0 else np.asarray(field) for field in fields]
    roster = context.roster if only is None else [(group, np.intersect1d(rows, only)) for group, rows in context.roster]
    if not context.by_message:
        for group, rows in roster:
            context.bus.send_batch(Batch(kind, sender, group, period, rows, tuple(c[rows] for c in columns)))
        return
    name = context.population.name
    values = list(zip(*(column.tolist() if column.ndim == 1 else column for column in columns), strict=True))
    context.bus.send(kind(sender, name[row], period, *values[row]) for _, rows in roster for row in rows.tolist())


def read_peers(
    context: Context, arrived: Iterable[Message | Batch], kind: type[Message]
) -> tuple[IntArray, tuple[FloatArray, ...]]:
    """Collect what peers sent for the current period; anything else, or of an earlier period, does not count.

    Args:
        context: where the peers are.
        arrived: content of a mailbox.
        kind: message type that is waited for.

    Returns:
        Rows of the peers that answered, ascending, and the type's fields in this order.
    """
    period = context.now.period
    peers: list[IntArray] = []
    fields: list[tuple[FloatArray, ...]] = []
    own = kind.__slots__
    row_of = context.row_of
    single: list[tuple[int, tuple[FloatArray, ...]]] = []
    for item in arrived:
        if item.period != period:
            continue
        if type(item) is kind:
            single.append((row_of[item.sender], tuple(getattr(item, name) for name in own)))
        elif isinstance(item, Batch) and item.kind is kind:
            peers.append(item.peer)
            fields.append(item.fields)
    if single:
        peers.append(np.array([row for row, _ in single]))
        fields.append(tuple(np.array(column) for column in zip(*(values for _, values in single), strict=True)))
    if not peers:
        return np.empty(0, dtype=np.int64), ()
    peer = np.concatenate(peers)
    order = np.argsort(peer, kind="stable")
    return peer[order], tuple(np.concatenate(parts)[order] for parts in zip(*fields, strict=True))
