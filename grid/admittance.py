"""The electrical model that every engine shares: nodes, branches, admittances.

Buses that closed bus-bus switches join are one node; the far end of a line behind an open switch is a node
of its own. Every branch is a two-port (MATPOWER manual, eq. (3.2)):

    [s_from]   [v_from conj(yff v_from + yft v_to)]
    [s_to  ] = [v_to   conj(ytf v_from + ytt v_to)]

Admittances are in MVA at 1 pu, so that with voltages in pu the powers come out in MVA.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

__all__ = ["Admittances", "Bools", "Complexes", "Floats", "Ints", "freeze"]

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def freeze(value: object) -> None:
    """Make every array field of a dataclass instance read-only."""
    for field in fields(value):  # type: ignore[arg-type]
        item = getattr(value, field.name)
        if isinstance(item, np.ndarray):
            item.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Admittances:
    """Nodes and branches in per unit of 1 MVA.

    Branch rows are the lines in the order of `Lines`, then the transformers in the order of `Trafos`, then
    branches that have no rating (impedances, switches with an impedance). A branch that is out of service
    keeps its row: `live` is False and its admittances are 0.

    Attributes:
        bus_node: (n_bus,) node of each bus, -1 where the bus is out of service.
        node_vn_kv: (n_node,) base voltage.
        from_node: (n_branch,) node at the from or high-voltage end.
        to_node: (n_branch,) node at the to or low-voltage end.
        live: (n_branch,) whether the branch carries current.
        yff: (n_branch,) MVA at 1 pu.
        yft: (n_branch,) MVA at 1 pu.
        ytf: (n_branch,) MVA at 1 pu.
        ytt: (n_branch,) MVA at 1 pu.
        ratio: (n_branch,) complex off-nominal ratio at the from end, shift included.
        y_shunt: (n_node,) shunts of the nodes, MVA at 1 pu.
        slack_node: (n_slack,) nodes held by an external grid.
        slack_vm_pu: (n_slack,) their voltage.
        slack_va_degree: (n_slack,) their angle.
    """

    bus_node: Ints
    node_vn_kv: Floats
    from_node: Ints
    to_node: Ints
    live: Bools
    yff: Complexes
    yft: Complexes
    ytf: Complexes
    ytt: Complexes
    ratio: Complexes
    y_shunt: Complexes
    slack_node: Ints
    slack_vm_pu: Floats
    slack_va_degree: Floats

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def n_node(self) -> int:
        """Number of nodes."""
        return len(self.node_vn_kv)

    @property
    def n_branch(self) -> int:
        """Number of branches, those out of service included."""
        return len(self.from_node)

    def slack_rows(self) -> Complexes:
        """Rows of the nodal admittance matrix at the slack nodes, (n_slack, n_node), MVA at 1 pu."""
        rows = np.zeros((len(self.slack_node), self.n_node), dtype=np.complex128)
        for row, node in zip(rows, self.slack_node, strict=True):
            at_from, at_to = self.from_node == node, self.to_node == node
            row[node] = self.y_shunt[node] + self.yff[at_from].sum() + self.ytt[at_to].sum()
            np.add.at(row, self.to_node[at_from], self.yft[at_from])
            np.add.at(row, self.from_node[at_to], self.ytf[at_to])
        return rows
