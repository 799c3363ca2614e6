from __future__ import annotations

import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid.convert import convert_net
from peerwatt.grid.lookup import Elements
from peerwatt.grid.network import Network
from tests.grid.nets import street


def network(*names: str) -> Network:
    net = street(len(names))
    net.line["name"] = names
    net.line.index = range(10, 10 + len(names))
    return convert_net(net, "street")


@pytest.mark.parametrize("wanted", ["b", "line.b", "line 11", "line.11", "11", 11])
def test_an_element_is_found_by_name_and_by_index(wanted: str | int) -> None:
    assert Elements(network("a", "b", "c"), "line").row(wanted, "here") == 1


def test_a_name_that_several_have_is_refused_with_their_indices() -> None:
    lines = Elements(network("NAYY", "b", "NAYY"), "line")
    with pytest.raises(GridDataError, match=r"^here: 2 lines have the name 'NAYY' \(give the index of one: 10, 12\)$"):
        lines.row("NAYY", "here")
    assert lines.row("line 12", "here") == 2


def test_a_number_that_is_the_name_of_another_is_refused_and_both_ways_out_work() -> None:
    lines = Elements(network("11", "12", "13"), "line")
    with pytest.raises(GridDataError, match=r"12 could be an index or the name.*'12' in quotes.*'line 12' for the ind"):
        lines.row(12, "here")
    assert (lines.row("12", "here"), lines.row("line 12", "here")) == (1, 2)
    assert lines.row(10, "here") == 0


def test_rows_of_two_tables_count_on_and_all_faults_come_at_once() -> None:
    both = Elements(network("a", "b"), "line", "trafo")
    assert both.rows(["station", "line.10"], "here") == [2, 0]
    with pytest.raises(GridDataError) as caught:
        both.rows(["stationn", "b", 99], "here")
    assert [fault.problem for fault in caught.value.faults] == [
        "no line or trafo has the name or index 'stationn'",
        "no line or trafo has the name or index '99'",
    ]
    assert caught.value.faults[0].remedy == "did you mean 'station'?"
