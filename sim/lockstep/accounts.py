"""From trades and meters to every euro of all periods of all replicas.

Accounts are those of a period of a replica: its peers, the supplier, the DSO, who runs the market.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.settings import TariffSettings
from peerwatt.agents.supplier import bills, loss_bills
from peerwatt.market.settlement import Entries, settle_surplus, settle_trades
from peerwatt.sim.lockstep.outlook import Shape
from peerwatt.sim.lockstep.trading import Traded

__all__ = ["N_OPERATORS", "Books", "settled"]

N_OPERATORS = 3
"""Accounts after those of the peers: supplier, DSO, market."""


@dataclass(frozen=True, slots=True)
class Books:
    """Every payment.

    Attributes:
        entries: of all periods, replica by replica, with accounts numbered anew in each period.
        period: period of each. (n_entries,)
        first: position of each replica's first entry, and at the end their number. (n_replicas + 1,)
        payment_eur: what each peer paid less what it received, flat.
    """

    entries: Entries
    period: IntArray
    first: IntArray
    payment_eur: FloatArray


def settled(
    shape: Shape,
    traded: Traded,
    delivered_mw: FloatArray,
    losses_mw: FloatArray,
    tariff: TariffSettings,
    period_h: float,
) -> Books:
    """Settle all periods, as `peerwatt.agents.market`, `supplier` and `dso` do one.

    Args:
        shape: of flat arrays.
        traded: what the markets came to.
        delivered_mw: what the meters say, flat.
        losses_mw: losses of the grid, nan where unknown. (n_rows,)
        tariff: prices.
        period_h: length of a period, h.
    """
    n, n_accounts = shape.n_peers, shape.n_peers + N_OPERATORS
    peer = np.arange(shape.size)
    account, begin = peer + N_OPERATORS * (peer // n), np.arange(shape.n_rows) * n_accounts
    supplier = begin + n
    trades, row = traded.trades, traded.trades.seller // n
    parts = [
        settle_trades(
            trades,
            period_h=period_h,
            fee_eur_per_mwh=tariff.network_fee_eur_per_mwh,
            dso=supplier[row] + 1,
            account=account,
        ),
        settle_surplus(
            trades, traded.spread_eur_per_mwh, period_h=period_h, mediator=supplier[row] + 2, account=account
        ),
        *bills(delivered_mw, _net(traded, shape), tariff, period_h, peer=account, supplier=supplier.repeat(n)),
        loss_bills(losses_mw, tariff, period_h, supplier=supplier, dso=supplier + 1),
    ]
    entries = Entries.concat(parts)
    paid = np.bincount(entries.payer, entries.amount_eur, shape.n_rows * n_accounts)
    received = np.bincount(entries.payee, entries.amount_eur, shape.n_rows * n_accounts)
    payment = np.asarray(paid - received, dtype=np.float64).reshape(-1, n_accounts)[:, :n].ravel()
    row = entries.payer // n_accounts
    order = row.astype(np.min_scalar_type(shape.n_rows)).argsort(kind="stable")
    in_order = Entries(
        (entries.payer[order] % n_accounts).astype(np.int32),
        (entries.payee[order] % n_accounts).astype(np.int32),
        entries.reason[order],
        entries.amount_eur[order],
    )
    first = np.searchsorted(row[order], np.arange(shape.n_replicas + 1) * shape.n_periods)
    return Books(in_order, row[order] % shape.n_periods, first, payment)


def _net(traded: Traded, shape: Shape) -> FloatArray:
    """Net power sold, flat; added up in the supplier's order."""
    net = np.zeros(shape.size)
    np.add.at(net, traded.trades.seller, traded.trades.p_mw)
    np.subtract.at(net, traded.trades.buyer, traded.trades.p_mw)
    return net
