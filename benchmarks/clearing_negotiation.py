"""Rows of `clearing.py`: decentralised negotiation against the central clearing of the same book."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from clearing_rows import Row, best_of

from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import QuadraticBook
from peerwatt.market.clearing import Clearing
from peerwatt.market.innovation import consensus_innovation
from peerwatt.market.negotiation import negotiate

PEERS, PARTNERS = 5000, 20


def negotiation_rows(rounds: int = 5, n_peers: int = PEERS) -> list[Row]:
    """Consensus ADMM and consensus + innovation from cold, and ADMM from the last state after a change."""
    book = household_market(n_peers)
    change = np.random.default_rng(1).uniform(0.99, 1.01, (2, book.n_pairs))
    changed = replace(book, seller_cost=book.seller_cost * change[0], buyer_cost=book.buyer_cost * change[1])
    dearer = replace(book, buyer_cost=book.buyer_cost + 0.5)
    last = negotiate(book).state
    seconds = best_of(
        rounds,
        {
            "admm": lambda: negotiate(book),
            "innovation": lambda: consensus_innovation(book),
            "cold": lambda: negotiate(changed),
            "warm": lambda: negotiate(changed, start=last),
            "cold fee": lambda: negotiate(dearer),
            "warm fee": lambda: negotiate(dearer, start=last),
        },
    )
    seconds |= best_of(1, {"central": lambda: bilateral(book)})
    best, cold, warm = bilateral(book), negotiate(changed).clearing, negotiate(changed, start=last).clearing
    cold_fee, warm_fee = negotiate(dearer).clearing, negotiate(dearer, start=last).clearing
    size = f"{n_peers:,} peers, {PARTNERS} partners"
    return [
        _row(f"ADMM, {size}", seconds["admm"], seconds["central"], 10.0, negotiate(book).clearing, best),
        _row(f"RCI, {size}", seconds["innovation"], seconds["central"], np.nan, consensus_innovation(book), best),
        _row("ADMM again, every preference moved by up to 1 %", seconds["warm"], seconds["cold"], 3.0, warm, cold),
        _row(
            "ADMM again, a fee of 0.5 EUR/MWh for all",
            seconds["warm fee"],
            seconds["cold fee"],
            np.nan,
            warm_fee,
            cold_fee,
        ),
    ]


def _row(case: str, ours_s: float, reference_s: float, wanted: float, ours: Clearing, reference: Clearing) -> Row:
    record = ours.convergence
    assert record is not None
    residuals = f"residuals primal {record.primal_residual[-1]:.1e}, dual {record.dual_residual[-1]:.1e}"
    if reference.convergence is None:
        against, note = "central clearing (Clarabel)", f"{ours.iterations} rounds; {residuals}"
    else:
        against, note = "ADMM from cold", f"{ours.iterations} rounds, cold {reference.iterations}; {residuals}"
    gap = ours.social_welfare_eur / reference.social_welfare_eur - 1.0
    return Row(case, ours_s, reference_s, against, wanted, gap, note)


def household_market(n_peers: int, partners: int = PARTNERS, seed: int = 0) -> QuadraticBook:
    """Producers and consumers of some kW in equal numbers; each producer knows some consumers."""
    rng = np.random.default_rng(seed)
    producers, consumers = n_peers // 2, n_peers - n_peers // 2
    power = rng.uniform(2e-4, 6e-3, n_peers)
    sells = np.arange(n_peers) < producers
    pairs = producers * partners
    buyer = [producers + rng.choice(consumers, partners, replace=False) for _ in range(producers)]
    return QuadraticBook(
        p_min_mw=np.where(sells, 0.0, -power),
        p_max_mw=np.where(sells, power, 0.0),
        cost_a=10.0 ** rng.uniform(3, 5, n_peers),
        cost_b=np.where(sells, rng.uniform(50, 200, n_peers), rng.uniform(100, 320, n_peers)),
        seller=np.repeat(np.arange(producers), partners),
        buyer=np.concatenate(buyer),
        seller_cost=rng.uniform(0.0, 20.0, pairs),
        buyer_cost=rng.uniform(0.0, 20.0, pairs),
        period_h=0.25,
    )


if __name__ == "__main__":
    for row in negotiation_rows():
        print(
            f"{row.case}: {row.ours_s:.3f} s, {row.reference} {row.reference_s:.3f} s, ratio {row.ratio:.1f}, ", end=""
        )
        print(f"wanted {row.wanted:g}, gap {row.gap:.1e}; {row.note}")
