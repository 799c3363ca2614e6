"""Which role a name in the results stands for."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import StrEnum

from peerwatt.agents.population import VIRTUAL_LOAD

__all__ = ["Role", "role_of"]


class Role(StrEnum):
    """Who takes part; in this order they stand in diagrams.

    Attributes:
        PEERS: all peers, and groups of them at round fidelity.
        MEDIATOR: runs an auction for the peers, and may offer their flexibility.
        P2P_MARKET: where peers trade bilaterally.
        DSO: the distribution system operator.
        FMO: the flexibility market operator.
        OUTSIDE: providers of flexibility that are no peers.
        SUPPLIER: the external supplier.
        TSO: the transmission system operator, and its virtual load among the peers.
    """

    PEERS = "peers"
    MEDIATOR = "mediator"
    P2P_MARKET = "p2p_market"
    DSO = "dso"
    FMO = "fmo"
    OUTSIDE = "outside"
    SUPPLIER = "supplier"
    TSO = "tso"


_FIXED = {
    "mediator": Role.MEDIATOR,
    "mediator (flexibility)": Role.MEDIATOR,
    "p2p market": Role.P2P_MARKET,
    "dso": Role.DSO,
    "fmo": Role.FMO,
    "supplier": Role.SUPPLIER,
    "tso": Role.TSO,
}


def role_of(name: str, peers: AbstractSet[str]) -> Role:
    """The role of a sender, receiver or account.

    Args:
        name: as it stands in a table.
        peers: names of the peers.
    """
    if name.startswith(VIRTUAL_LOAD):
        return Role.TSO
    if name in peers or name == "peers" or name.startswith("peers ("):
        return Role.PEERS
    return _FIXED.get(name, Role.OUTSIDE)
