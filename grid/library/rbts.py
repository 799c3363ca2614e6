"""The distribution network at bus 2 of the Roy Billinton test system, with the resources of Marques et al."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peerwatt.grid.library.catalog import CaseData
from peerwatt.grid.library.tables import read_table, set_points

if TYPE_CHECKING:
    import pandas as pd
    from pandapower import pandapowerNet

__all__ = ["rbts2_37"]

_KIND_OF_CUSTOMER = {
    "residential": "household",
    "govt/inst": "commercial",
    "commercial": "commercial",
    "small user": "industry",
}

_DAY = "2016-06-21"


def rbts2_37() -> CaseData:
    """37 buses at 11 kV behind a transformer 33/11 kV of 20 MVA, 22 load points, 27 generators, one day.

    Source: R. N. Allan et al., "A reliability test system for educational purposes: basic distribution system data
    and results", IEEE Trans. Power Systems 6 (1991) 813-820 (topology, lengths, load points: 12.291 MW on average,
    20.0 MW at the peak); Marques et al., "P2P flexibility markets to support the coordination between the
    transmission system operators and distribution system operators" (3 CHP, 2 wind, 22 PV units, the day's totals).

    Bus 0 is the high-voltage side and the slack, bus 1 the busbar; section k ends in bus k + 1. The four feeders
    meet at two open switches, BS1 and BS2. Limits: 0.95 and 1.05 pu, 100 percent.

    The day has 24 hours and no date in the source; it is laid on 2016-06-21, where scenarios start by default, so
    that hour 12 is the one from 11:00. Loads and forecasts of wind and PV are profiles; the CHP units run at their
    minimum of 0.1 MW each (columns `min_p_mw` and `max_p_mw` of `sgen` have their range).

    Published (Marques et al., Tables IV and V): PV forecast of the day 187.75 MWh, of hour 12 21.58 MW; wind
    127.10 MWh and 5.37 MW; in hour 12, with loads at 1.3 of the base (22.13 MW), half the line capacity and five
    times the line impedance, line 13 is loaded to 133.97 percent and bus 14 at 1.051 pu; before that, bus 14 is at
    1.010 pu.

    Reconstructed (each row of the CSV files says so): numbering of buses, conductor (0.351 + j0.108 ohm/km, 203 A
    and 225 A at feeder heads) and transformer (8.5 percent), fitted to Table V; hourly shapes; shares of load points
    and PV units; sites of CHP and of the second wind unit; tan phi of wind and PV 0.195 where the text says 0.4;
    positions on the map; 33 kV as the high voltage.
    """
    net = _branches()
    _units(net)
    return CaseData(net, _profiles())


def _branches() -> pandapowerNet:
    import pandapower as pp

    bus, line, trafo, tie = (read_table(f"rbts2_{name}") for name in ("bus", "line", "trafo", "tie"))
    limit = read_table("rbts2_parameter").set_index("parameter")["value"].astype(float)
    net = pp.create_empty_network(name="rbts2-37")
    pp.create_buses(
        net,
        len(bus),
        vn_kv=bus["vn_kv"].to_numpy(),
        index=bus["bus"].tolist(),
        name=bus["name"].tolist(),
        min_vm_pu=limit["v_min"],
        max_vm_pu=limit["v_max"],
    )
    set_points(net, bus["x_km"], bus["y_km"])
    pp.create_ext_grid(net, 0, vm_pu=1.0, name="grid")
    pp.create_lines_from_parameters(
        net,
        line["from_bus"].tolist(),
        line["to_bus"].tolist(),
        **{
            name: line[name].to_numpy()
            for name in ("length_km", "r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km", "max_i_ka")
        },
        index=line["line"].tolist(),
        name=line["line"].astype(str).tolist(),
        max_loading_percent=limit["line_limit"],
    )
    for row in trafo.itertuples():
        pp.create_transformer_from_parameters(
            net,
            row.hv_bus,
            row.lv_bus,
            sn_mva=row.sn_mva,
            vn_hv_kv=row.vn_hv_kv,
            vn_lv_kv=row.vn_lv_kv,
            vk_percent=row.vk_percent,
            vkr_percent=row.vkr_percent,
            pfe_kw=row.pfe_kw,
            i0_percent=row.i0_percent,
            name=row.trafo,
            max_loading_percent=limit["line_limit"],
        )
    for row in tie.itertuples():
        pp.create_switch(net, row.from_bus, row.to_bus, et="b", closed=False, name=row.tie)
    return net


def _units(net: pandapowerNet) -> None:
    """Loads at their peak, generators at their rating."""
    import pandapower as pp

    load, der, profile = (read_table(f"rbts2_{name}") for name in ("load", "der", "profile"))
    pp.create_loads(
        net,
        load["bus"].tolist(),
        p_mw=load["peak_mw"].to_numpy(),
        q_mvar=(load["peak_mw"] * load["tan_phi"]).to_numpy(),
        name=load["load_point"].tolist(),
    )
    net.load["kind"] = load["customer_type"].map(_KIND_OF_CUSTOMER).to_numpy()
    peak = {"wind": profile["wind_forecast_mw"].max(), "pv": profile["pv_forecast_mw"].max()}
    p_mw = der["p_max_mw"].fillna(der["kind"].map(peak) * der["share_of_kind"]).to_numpy()
    pp.create_sgens(
        net,
        der["bus"].tolist(),
        p_mw=p_mw,
        q_mvar=p_mw * der["tan_phi"].to_numpy(float),
        name=der["der"].tolist(),
        min_p_mw=der["p_min_mw"].to_numpy(),
        max_p_mw=p_mw,
    )
    net.sgen["kind"] = der["kind"].to_numpy()


def _profiles() -> pd.DataFrame:
    """Consumption and forecasts of every unit over the day, MW."""
    import pandas as pd

    load, der, profile = (read_table(f"rbts2_{name}") for name in ("load", "der", "profile"))
    columns = {f"load.{row.load_point}.p_mw": row.share_of_total * profile["base_load_mw"] for row in load.itertuples()}
    for row in der.itertuples():
        columns[f"sgen.{row.der}.p_mw"] = (
            pd.Series(row.p_min_mw, index=profile.index)
            if row.kind == "chp"
            else row.share_of_kind * profile[f"{row.kind}_forecast_mw"]
        )
    time = pd.date_range(_DAY, periods=len(profile), freq="h")
    return pd.DataFrame({"time": time, **columns})
