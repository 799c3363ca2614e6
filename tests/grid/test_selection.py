from __future__ import annotations

import numpy as np
import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid.selection import select_branches, select_buses
from tests.grid.sensitivity_nets import network


def test_everything_positions_and_masks_are_understood():
    grid = network("CIGRE MV")
    assert select_branches(grid, None).tolist() == list(range(grid.n_line + grid.n_trafo))
    assert select_buses(grid, [3, 1, 3]).tolist() == [3, 1, 3]
    assert select_buses(grid, []).tolist() == []
    assert select_buses(grid, np.arange(grid.n_bus) == 4).tolist() == [4]


@pytest.mark.parametrize("chosen", [[-1], [15], [0.5], [True], [[1]], ["a"]])
def test_what_is_no_position_is_refused(chosen):
    with pytest.raises(GridDataError, match="integers from 0 to 14"):
        select_buses(network("CIGRE MV"), chosen)
