"""What makes pandapower quick enough for the hundreds of small networks of the tests."""

from __future__ import annotations

import sys
from typing import Any

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare pandapower's work per network; and, unless slow tests run too, its compilation in every process."""
    if "pandapower" not in sys.modules:
        return
    share_empty_tables()
    if not any(item.get_closest_marker("slow") for item in session.items):
        do_not_compile()


def share_empty_tables() -> None:
    """The empty tables of a new network are copies of one set; to make them of its schema takes ten times as long."""
    import pandas as pd
    from pandapower import pandapowerNet

    make, made = pandapowerNet.create_dataframes, dict[Any, pd.DataFrame]()

    def copied(data: dict[str, Any]) -> dict[str, Any]:
        for name, columns in data.items():
            if isinstance(columns, dict):
                key = (name, *columns.items())
                if key not in made:
                    made[key] = make({name: columns})[name]
                data[name] = made[key].copy()
        return data

    pandapowerNet.create_dataframes = copied


def do_not_compile() -> None:
    """Power flows run as with `numba=False`: pandapower's numba functions are compiled anew by every process."""
    from pandapower import auxiliary
    from pandapower.pf import runpf_pypower, runpp_3ph

    for module in (auxiliary, runpf_pypower, runpp_3ph):
        module._check_if_numba_is_installed = lambda *_, **__: False
