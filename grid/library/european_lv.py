"""The European low voltage test feeder of the IEEE, as a balanced network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["ieee_eu_lv"]


def ieee_eu_lv() -> pandapowerNet:
    """907 buses, 11/0.416 kV, 55 single-phase loads spread over three phases: the symmetric equivalent.

    Source: IEEE PES Test Feeders, European Low Voltage Test Feeder (2015), 09:26 (minute 566, on peak), through
    `pandapower.networks.ieee_european_lv_asymmetric`. The published figures are of the unbalanced feeder; this
    network draws the same total power at the same buses, one third on each phase, so its voltages are not those.

    Known of this data: the feeder was published with a power factor of 0.95 for every load; pandapower has it on phase
    A only, and next to no reactive power on B and C (5.7 kvar in total instead of 18.9). It is kept as pandapower has
    it, so that both forms of the feeder agree.

    The voltage at the external grid is 1.05 pu, the transformer has 800 kVA. The rating of every line is 421 A,
    whatever its conductor: a placeholder of the converted data.
    """
    import pandapower as pp
    from pandapower.networks import ieee_european_lv_asymmetric

    net = ieee_european_lv_asymmetric("on_peak_566")
    single = net.asymmetric_load
    p_mw = single[["p_a_mw", "p_b_mw", "p_c_mw"]].sum(axis=1) * single["scaling"]
    q_mvar = single[["q_a_mvar", "q_b_mvar", "q_c_mvar"]].sum(axis=1) * single["scaling"]
    pp.create_loads(
        net,
        single["bus"].tolist(),
        p_mw=p_mw.to_numpy(),
        q_mvar=q_mvar.to_numpy(),
        name=single["name"].tolist(),
    )
    net.load["kind"] = "household"
    net.trafo["tap_dependency_table"] = False  # pandapower warns of networks older than this column
    net.asymmetric_load = single.iloc[:0]
    pp.toolbox.clear_result_tables(net)
    return net
