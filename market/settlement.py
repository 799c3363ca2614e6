"""Double-entry settlement: every euro has a payer and a payee, so that all accounts add up to zero.

Accounts are numbered. By convention account i is agent i for the first n agents, and the accounts of the
supplier, the DSO, the mediator and others (a TSO, the managers of communities) follow:

    ledger = Ledger([*peers, "supplier", "dso", "mediator"])
    ledger.append(settle_trades(clearing.trades, period_h=0.25, fee_eur_per_mwh=20.0, dso=ledger.code("dso")))
    ledger.append(settle_residual(residual_mw, 320.0, 80.0, period_h=0.25, supplier=ledger.code("supplier")))
    ledger.balances()  # sums to zero

Power is positive when fed into the grid, prices when the buyer pays, amounts always.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peerwatt.errors import BookError, Fault
from peerwatt.market.book import FloatArray, IntArray
from peerwatt.market.clearing import Trades

__all__ = [
    "REASONS",
    "Entries",
    "Ledger",
    "Reason",
    "settle_flexibility",
    "settle_imbalance",
    "settle_incentives",
    "settle_residual",
    "settle_surplus",
    "settle_trades",
]


class Reason(StrEnum):
    """What an amount is paid for.

    Attributes:
        P2P: energy traded between peers.
        SUPPLY: energy bought from the supplier.
        FEED_IN: energy sold to the supplier.
        IMBALANCE: deviation of the delivery from the schedule.
        NETWORK_FEE: use of the network by trades.
        LOSSES: energy lost in the network.
        SURPLUS: what buyers pay beyond what sellers get, kept by who runs the market; a community's manager's
            fee is one.
        INCENTIVE: reward of the DSO for a trade or a schedule that relieves the network.
        PENALTY: charge of the DSO for one that burdens it, or for an obligation that is not met.
        FLEXIBILITY: a change of power that a system operator has activated.
        CAPACITY: capacity traded between peers, or held for the DSO.
    """

    P2P = "p2p"
    SUPPLY = "supply"
    FEED_IN = "feed_in"
    IMBALANCE = "imbalance"
    NETWORK_FEE = "network_fee"
    LOSSES = "losses"
    SURPLUS = "surplus"
    INCENTIVE = "incentive"
    PENALTY = "penalty"
    FLEXIBILITY = "flexibility"
    CAPACITY = "capacity"


REASONS: tuple[Reason, ...] = tuple(Reason)
"""Reasons by their code in `Entries.reason`."""

_CODE = {reason: code for code, reason in enumerate(REASONS)}
_MAX_AMOUNT = float(np.finfo(np.float64).max)

ReasonArray: TypeAlias = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Entries:
    """Bookings, one per row. Build them with `Entries.of`, which keeps amounts positive.

    Attributes:
        payer: account that is debited. (n_entries,)
        payee: account that is credited. (n_entries,)
        reason: code into `REASONS`. (n_entries,)
        amount_eur: amount, positive. (n_entries,)
    """

    payer: IntArray
    payee: IntArray
    reason: ReasonArray
    amount_eur: FloatArray

    @classmethod
    def of(
        cls, payer: ArrayLike, payee: ArrayLike, reason: Reason | Sequence[Reason], amount_eur: ArrayLike
    ) -> Entries:
        """Book amounts; scalars are repeated for all rows.

        A negative amount is booked the other way round, a zero amount is dropped.

        Args:
            payer: accounts that pay.
            payee: accounts that are paid.
            reason: one reason for all rows, or one per row.
            amount_eur: amounts.

        Raises:
            BookError: an amount is not finite.
        """
        amount = np.atleast_1d(np.asarray(amount_eur, dtype=np.float64))
        size = np.abs(amount)
        finite = size <= _MAX_AMOUNT
        if not finite.all():
            rows = np.flatnonzero(~finite)
            raise BookError(Fault(f"entry {rows[0]}", f"amount is {amount[rows[0]]} EUR", "finite prices and powers"))
        codes = _CODE[reason] if isinstance(reason, Reason) else [_CODE[each] for each in reason]
        kept = size > 0.0
        shape = amount.shape
        debit = np.broadcast_to(np.asarray(payer, dtype=np.intp), shape)[kept]
        credit = np.broadcast_to(np.asarray(payee, dtype=np.intp), shape)[kept]
        code = np.broadcast_to(np.asarray(codes, dtype=np.int8), shape)[kept]
        reverse = amount[kept] < 0.0
        return cls(np.where(reverse, credit, debit), np.where(reverse, debit, credit), code, size[kept])

    @classmethod
    def concat(cls, parts: Iterable[Entries]) -> Entries:
        """All rows of several bookings, in order."""
        rows = tuple(parts)
        if not rows:
            return cls(
                np.empty(0, dtype=np.intp),
                np.empty(0, dtype=np.intp),
                np.empty(0, dtype=np.int8),
                np.empty(0),
            )
        return cls(
            np.concatenate([part.payer for part in rows]),
            np.concatenate([part.payee for part in rows]),
            np.concatenate([part.reason for part in rows]),
            np.concatenate([part.amount_eur for part in rows]),
        )

    def __len__(self) -> int:
        return self.payer.size


class Ledger:
    """The books of one period or of a whole run.

    Args:
        accounts: names of the accounts; their position is their code.
    """

    def __init__(self, accounts: Sequence[str]) -> None:
        self.accounts = tuple(accounts)
        self._codes = {name: code for code, name in enumerate(self.accounts)}
        self._parts: list[Entries] = []
        if len(self._codes) < len(self.accounts):
            twice = sorted({name for name in self.accounts if self.accounts.count(name) > 1})
            raise BookError([Fault("accounts", f"'{name}' exists twice", "each name once") for name in twice])

    def code(self, account: str) -> int:
        """Code of an account.

        Raises:
            BookError: no account has this name.
        """
        if account not in self._codes:
            raise BookError(Fault("accounts", f"no account is named '{account}'", "open it with the ledger"))
        return self._codes[account]

    def append(self, entries: Entries) -> None:
        """Add bookings.

        Raises:
            BookError: a booking names an account that does not exist.
        """
        if not len(entries):
            return
        codes = np.concatenate((entries.payer, entries.payee))
        if codes.min() < 0 or codes.max() >= len(self.accounts):
            wrong = np.unique(codes[(codes < 0) | (codes >= len(self.accounts))])
            raise BookError(
                [
                    Fault("ledger", f"unknown account {code}", f"codes are 0 to {len(self.accounts) - 1}")
                    for code in wrong
                ]
            )
        self._parts.append(entries)

    def entries(self) -> Entries:
        """All bookings so far."""
        self._parts = [Entries.concat(self._parts)]
        return self._parts[0]

    def balances(self) -> FloatArray:
        """What each account has received less what it has paid; they add up to zero; (n_accounts,)."""
        entries, n = self.entries(), len(self.accounts)
        received = np.bincount(entries.payee, entries.amount_eur, minlength=n)
        paid = np.bincount(entries.payer, entries.amount_eur, minlength=n)
        return np.asarray(received - paid, dtype=np.float64)

    def total(self, reason: Reason) -> float:
        """Sum of all amounts paid for one reason."""
        entries = self.entries()
        return float(entries.amount_eur[entries.reason == _CODE[reason]].sum())


def settle_trades(
    trades: Trades,
    *,
    period_h: float,
    fee_eur_per_mwh: ArrayLike = 0.0,
    seller_fee_eur_per_mwh: ArrayLike = 0.0,
    dso: ArrayLike = 0,
    account: IntArray | None = None,
    reason: Reason | Sequence[Reason] = Reason.P2P,
) -> Entries:
    """Book trades: the buyer pays the seller, and both pay their network fees to the DSO.

    Args:
        trades: what was traded.
        period_h: length of the period in hours; 1 for capacity, whose prices are per MW.
        fee_eur_per_mwh: the buyer's fee, one for all trades or one per trade; what is negative the DSO pays.
        seller_fee_eur_per_mwh: the seller's fee, likewise.
        dso: account of the DSO, one or one per trade; used where there is a fee.
        account: account of every agent; agent i has account i if None. (n_agents,)
        reason: what the buyer pays for, one for all trades or one per trade, e.g. supply where the
            supplier sells.
    """
    seller, buyer = trades.seller, trades.buyer
    if account is not None:
        seller, buyer = account[seller], account[buyer]
    energy = trades.p_mw * period_h
    paid = Entries.of(buyer, seller, reason, energy * trades.price_eur_per_mwh)
    fees = (
        Entries.of(party, dso, Reason.NETWORK_FEE, energy * np.asarray(fee, dtype=np.float64))
        for party, fee in ((buyer, fee_eur_per_mwh), (seller, seller_fee_eur_per_mwh))
    )
    return Entries.concat((paid, *fees))


def settle_surplus(
    trades: Trades,
    spread_eur_per_mwh: ArrayLike,
    *,
    period_h: float,
    mediator: ArrayLike,
    account: IntArray | None = None,
) -> Entries:
    """Book what the buyers pay to who runs the market, on top of what they pay the sellers.

    Args:
        trades: what was traded.
        spread_eur_per_mwh: `Clearing.spread_eur_per_mwh`, one per trade, or empty where the market keeps
            nothing; what is negative the market pays.
        period_h: length of the period in hours.
        mediator: account of who runs the market, one for all trades or one per trade.
        account: account of every agent; agent i has account i if None. (n_agents,)
    """
    spread = np.asarray(spread_eur_per_mwh, dtype=np.float64)
    if not spread.size:
        return Entries.concat(())
    buyer = trades.buyer if account is None else account[trades.buyer]
    return Entries.of(buyer, mediator, Reason.SURPLUS, trades.p_mw * period_h * spread)


def settle_incentives(agent: ArrayLike, amount_eur: ArrayLike, *, dso: int) -> Entries:
    """Book what the DSO pays and collects to steer trades: rewards as incentives, charges as penalties.

    Args:
        agent: accounts of who is rewarded or charged. (n_rows,)
        amount_eur: positive where the DSO pays, negative where it collects. (n_rows,)
        dso: account of the DSO.
    """
    amount = np.asarray(amount_eur, dtype=np.float64)
    collected = amount < 0.0
    return Entries.of(dso, agent, [Reason.PENALTY if each else Reason.INCENTIVE for each in collected.ravel()], amount)


def settle_flexibility(
    provider: ArrayLike,
    amount_eur: ArrayLike,
    *,
    operator: int,
    reason: Reason = Reason.FLEXIBILITY,
) -> Entries:
    """Book flexibility that a system operator, DSO or TSO, has activated or reserved.

    Args:
        provider: accounts of the providers. (n_rows,)
        amount_eur: what each is due; negative where it pays, as for downward energy that it is glad to
            save. (n_rows,)
        operator: account of the DSO or the TSO.
        reason: `FLEXIBILITY`, or `CAPACITY` for what is only held ready.
    """
    return Entries.of(operator, provider, reason, amount_eur)


def settle_residual(
    residual_mw: ArrayLike,
    supply_price_eur_per_mwh: ArrayLike,
    feed_in_price_eur_per_mwh: ArrayLike,
    *,
    period_h: float,
    supplier: ArrayLike,
    account: IntArray | None = None,
) -> Entries:
    """Book what agents buy from and sell to the supplier because no peer took the other side.

    Args:
        residual_mw: net power left to the supplier, positive when fed in. (n_agents,)
        supply_price_eur_per_mwh: what an agent pays for power it draws; one, or one per agent.
        feed_in_price_eur_per_mwh: what an agent is paid for power it feeds in; one, or one per agent.
        period_h: length of the period in hours.
        supplier: account of the supplier, one or one per agent.
        account: account of every agent; agent i has account i if None. (n_agents,)
    """
    drawn, fed_in = _energies(residual_mw, period_h)
    agent = np.arange(drawn.size) if account is None else account
    supply = Entries.of(agent, supplier, Reason.SUPPLY, drawn * np.asarray(supply_price_eur_per_mwh))
    feed_in = Entries.of(supplier, agent, Reason.FEED_IN, fed_in * np.asarray(feed_in_price_eur_per_mwh))
    return Entries.concat((supply, feed_in))


def settle_imbalance(
    deviation_mw: ArrayLike,
    shortage_price_eur_per_mwh: ArrayLike,
    excess_price_eur_per_mwh: ArrayLike,
    *,
    period_h: float,
    supplier: ArrayLike,
    account: IntArray | None = None,
) -> Entries:
    """Book deviations of the delivery from the schedule against who balances them.

    Args:
        deviation_mw: delivered less scheduled net power. (n_agents,)
        shortage_price_eur_per_mwh: what an agent pays for power it is short of.
        excess_price_eur_per_mwh: what an agent is paid for power in excess.
        period_h: length of the period in hours.
        supplier: account of who balances, one or one per agent.
        account: account of every agent; agent i has account i if None. (n_agents,)
    """
    short, excess = _energies(deviation_mw, period_h)
    agent = np.arange(short.size) if account is None else account
    return Entries.concat(
        (
            Entries.of(agent, supplier, Reason.IMBALANCE, short * np.asarray(shortage_price_eur_per_mwh)),
            Entries.of(supplier, agent, Reason.IMBALANCE, excess * np.asarray(excess_price_eur_per_mwh)),
        )
    )


def _energies(p_mw: ArrayLike, period_h: float) -> tuple[FloatArray, FloatArray]:
    """Drawn and fed-in energy, both positive, of shape (n_agents,)."""
    energy = np.asarray(p_mw, dtype=np.float64) * period_h
    return np.maximum(-energy, 0.0), np.maximum(energy, 0.0)
