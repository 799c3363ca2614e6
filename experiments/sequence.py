"""Who told whom what, and when, in one period of a run: as a table, and as a Mermaid sequence diagram.

Many peers, or many resources outside the P2P market, are one lifeline, and what is sent to or from one at the same
time is one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peerwatt.errors import Fault, ResultsError
from peerwatt.sim.columns import numbers, strings
from peerwatt.sim.roles import Role, role_of

if TYPE_CHECKING:
    from rich.table import Table

    from peerwatt.sim.results import Results

__all__ = ["Lifeline", "Step", "as_mermaid", "as_table", "grouped", "steps"]

MOST_ALONE = 3
"""More agents than this with the same role are one lifeline."""

_LABEL = {Role.DSO: "DSO", Role.FMO: "FMO", Role.TSO: "TSO"}


@dataclass(frozen=True, slots=True, order=True)
class Lifeline:
    """Who takes part: an agent, or all agents of a role.

    Attributes:
        place: order in the diagram.
        label: what it is called.
        many: whether it stands for several agents.
    """

    place: int
    label: str
    many: bool


@dataclass(frozen=True, slots=True)
class Step:
    """Equal messages at the same time.

    Attributes:
        time_s: when they were sent, from the start of the period.
        sender, receiver: lifelines.
        kind: message type.
        n: how many were sent.
        lost: how many of them never arrived.
        delay_s: longest time under way of those that did.
    """

    time_s: int
    sender: Lifeline
    receiver: Lifeline
    kind: str
    n: int
    lost: int
    delay_s: int

    @property
    def about(self) -> str:
        """What such a message says, in words."""
        from peerwatt.agents import messages, orders, proposals, services

        found = (getattr(module, self.kind, None) for module in (messages, orders, proposals, services))
        kind = next(filter(None, found), None)
        text = (kind.__doc__ or "").strip().partition("\n")[0] if kind else ""
        return text.partition(": ")[2].rstrip(".")


def steps(results: Results, period: int) -> tuple[Step, ...]:
    """The messages about one period, grouped.

    Args:
        results: a run that recorded its messages.
        period: number of the period.

    Raises:
        ResultsError: the run did not record messages, or did not come to this period.
    """
    done = int(results.manifest.get("periods_done", 0))
    if not 0 <= period < done:
        fault = Fault(str(results.path), f"there is no period {period}", f"the run has periods 0 to {done - 1}")
        raise ResultsError(fault)
    message = results.arrow("message", filters=[("period", "==", period)])
    peers = strings(results.arrow("peer", ["agent"]), "agent")
    texts = (strings(message, name) for name in ("sender", "receiver", "kind"))
    columns = (numbers(message, name).tolist() for name in ("time_s", "delivered_s", "n"))
    return grouped(zip(*texts, *columns, strict=True), peers, period * float(results.manifest["period_s"]))


def grouped(
    rows: Iterable[tuple[str, str, str, float, float, float]], peers: Sequence[str], start_s: float
) -> tuple[Step, ...]:
    """The messages of one period, grouped.

    Args:
        rows: sender, receiver, kind, second of sending, second of arrival (NaN when lost), how many; in their order.
        peers: names of the peers.
        start_s: second at which the period began.
    """
    rows = list(rows)
    known = frozenset(peers)
    n_peers = sum(role_of(name, known) is Role.PEERS for name in peers)
    lifeline = _lifelines({name for row in rows for name in row[:2]}, known, n_peers)
    found: dict[tuple[int, Lifeline, Lifeline, str, int], list[int]] = {}
    for row, (first, second, kind, sent_s, delivered_s, n) in enumerate(rows):
        ends = lifeline[first], lifeline[second]
        single = -1 if ends[0].many or ends[1].many else row  # between two agents each message is a step
        key = (int(sent_s - start_s), *ends, kind, single)
        total = found.setdefault(key, [0, 0, 0])
        total[0] += int(n)
        if delivered_s != delivered_s:  # NaN: lost
            total[1] += int(n)
        else:
            total[2] = max(total[2], int(delivered_s - sent_s))
    ordered = sorted(found, key=lambda key: key[0])  # stable: of one time in the order of sending
    return tuple(Step(*key[:4], *found[key]) for key in ordered)


def _lifelines(names: set[str], peers: frozenset[str], n_peers: int) -> dict[str, Lifeline]:
    """Lifeline of each sender and receiver."""
    roles = list(Role)
    role = {name: role_of(name, peers) for name in names}
    count = {each: len({name for name in names if role[name] is each}) for each in (Role.PEERS, Role.OUTSIDE)}
    lines = {}
    for name in names:
        own, label, many = role[name], name if name in peers else _LABEL.get(role[name], name), False
        if own in count:
            many = count[own] > MOST_ALONE or (own is Role.PEERS and name not in peers)
            label = (f"{n_peers} peers" if own is Role.PEERS else f"{count[own]} FSPs outside") if many else name
        elif own is Role.MEDIATOR:
            label = "mediator"
        lines[name] = Lifeline(roles.index(own), label, many)
    return lines


def as_table(told: Sequence[Step], period: int) -> Table:
    """The steps as a table for the terminal."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, title=f"Period {period}")
    table.title_justify = "left"
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("who to whom", no_wrap=True)
    table.add_column("message", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("says", style="dim", overflow="fold")
    before = None
    for step in told:
        time = "" if step.time_s == before else f"{step.time_s:,}"
        before = step.time_s
        count = f"{step.n:,}" + (f", {step.lost:,} lost" if step.lost else "")
        table.add_row(time, f"{step.sender.label} → {step.receiver.label}", step.kind, count, step.about)
    return table


def as_mermaid(told: Sequence[Step]) -> str:
    """The steps as the text of a Mermaid `sequenceDiagram`; times are notes, in seconds of the period."""
    lifelines = sorted({line for step in told for line in (step.sender, step.receiver)})
    short = {line: f"a{place}" for place, line in enumerate(lifelines)}
    lines = ["sequenceDiagram"]
    lines += [f"    participant {short[line]} as {_plain(line.label)}" for line in lifelines]
    span = f"{short[lifelines[0]]},{short[lifelines[-1]]}" if lifelines else ""
    before = None
    for step in told:
        if step.time_s != before:
            lines.append(f"    Note over {span}: {step.time_s} s")
            before = step.time_s
        count = f" x {step.n}" if step.n > 1 else ""
        lost = f" ({step.lost} lost)" if step.lost else ""
        arrow = "--x" if step.lost == step.n else "->>"
        lines.append(f"    {short[step.sender]}{arrow}{short[step.receiver]}: {step.kind}{count}{lost}")
    return "\n".join(lines) + "\n"


def _plain(label: str) -> str:
    """A label without what has a meaning in Mermaid."""
    return label.replace(";", ",").replace("#", "no. ").replace("\n", " ")
