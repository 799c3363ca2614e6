import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from peerwatt.errors import ResultsError
from peerwatt.sim.kpi import compute_kpis
from peerwatt.sim.results import Results
from tests.fabricate import tiny, village


def test_tables_are_frames_with_ordered_stages(tmp_path):
    results = Results.open(tiny(tmp_path))
    assert len(results.period) == 12
    assert list(results.bus["stage"].cat.categories) == ["forecast", "p2p", "delivery"]
    assert (results.bus.query("stage >= 'p2p'")["stage"] != "forecast").all()
    assert results.trade["p_mw"].sum() == pytest.approx(0.008)


def test_a_table_is_read_once(tmp_path):
    results = Results(tiny(tmp_path))
    assert results.agent is results.agent


def test_part_of_a_table_can_be_read(tmp_path):
    results = Results(tiny(tmp_path))
    where = [("stage", "==", "delivery"), ("bus", "==", 2)]
    part = results.table("bus", columns=["period", "vm_pu"], filters=where)
    assert list(part.columns) == ["period", "vm_pu"]
    assert part["vm_pu"].tolist() == pytest.approx([0.96, 0.961, 0.962, 0.963])


def test_times_are_the_starts_of_the_periods_that_were_done(tmp_path):
    times = Results(tiny(tmp_path, periods_done=3)).times
    assert list(times) == list(pd.date_range("2016-06-21", periods=3, freq="h"))


def test_an_element_without_a_row_is_nan_and_nothing_else_moves(tmp_path):
    data = Results(tiny(tmp_path)).to_xarray()
    assert data["bus_vm_pu"].dims == ("period", "stage", "bus")
    assert float(data["bus_vm_pu"].sel(stage="delivery", bus=2, period=3)) == pytest.approx(0.963)
    assert float(data["agent_p_mw"].sel(agent="solar", period=1)) == pytest.approx(0.003)
    assert np.isnan(data["losses_mw"].sel(period=3, stage="forecast"))
    assert np.isnan(data["bus_va_degree"]).all()


def test_labelled_arrays_carry_units_times_and_names(tmp_path):
    data = Results(tiny(tmp_path)).to_xarray()
    assert data["line_loading_percent"].attrs["units"] == "%"
    assert "voltage" in data["bus_vm_pu"].attrs["long_name"]
    assert str(data["time"].values[1]).startswith("2016-06-21T01:00")
    assert data["bus_name"].values.tolist() == ["Bus 0", "Bus 1", "Bus 2"]
    assert str(data["agent_kind"].sel(agent="mixed").values) == "prosumer"


def test_tables_that_were_not_recorded_are_left_out_of_the_arrays(tmp_path):
    data = Results(tiny(tmp_path, without=["line", "peer"])).to_xarray()
    assert "line" not in data.dims
    assert data.sizes["agent"] == 3


def test_a_table_that_was_not_recorded_is_named_with_the_key_that_records_it(tmp_path):
    results = Results(tiny(tmp_path, without=["message"]))
    with pytest.raises(ResultsError, match=r"message.*record:"):
        _ = results.message


def test_an_unknown_table_or_column_is_answered_with_the_known_ones(tmp_path):
    results = Results(tiny(tmp_path))
    with pytest.raises(ResultsError, match=r"busses.*tables are: period, bus"):
        results.table("busses")
    with pytest.raises(ResultsError, match=r"voltage.*vm_pu"):
        results.table("bus", columns=["voltage"])
    with pytest.raises(ResultsError, match=r"voltage.*vm_pu"):
        results.unit("bus", "voltage")
    assert results.unit("bus", "vm_pu") == "pu"


def test_a_directory_that_is_none_is_refused_with_what_is_missing(tmp_path):
    with pytest.raises(ResultsError, match=r"manifest\.json, scenario\.yaml, topology\.json missing"):
        Results(tmp_path)
    with pytest.raises(ResultsError, match="no such directory"):
        Results(tmp_path / "nowhere")


def test_a_damaged_file_is_named(tmp_path):
    (tiny(tmp_path) / "bus.parquet").write_bytes(b"not parquet")
    with pytest.raises(ResultsError, match=r"bus\.parquet.*cannot be read"):
        _ = Results(tmp_path).bus
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ResultsError, match=r"manifest\.json.*cannot be read"):
        Results(tmp_path)


def test_key_figures_are_computed_when_the_run_left_none(tmp_path):
    results = Results(village(tmp_path, periods=8))
    on_file = results.kpi
    (tmp_path / "kpi.json").unlink()
    assert Results(tmp_path).kpi == on_file
    assert on_file == compute_kpis({name: results.arrow(name) for name in results.tables}, results.manifest)


def test_it_shows_itself_with_text_made_safe_for_a_notebook(tmp_path):
    results = Results(tiny(tmp_path, name="<script>"))
    assert "4 of 4 done" in repr(results)
    assert "&lt;script&gt;" in results._repr_html_()
    assert "<script>" not in results._repr_html_()


def test_opening_results_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from peerwatt.sim.results import Results; r = Results(sys.argv[1]);"
        "r.kpi; r.arrow('bus');"
        "assert not {'xarray', 'pandapower', 'plotly', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny(tmp_path))], check=True)
