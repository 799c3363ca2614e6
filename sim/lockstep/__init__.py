"""Replicas of a scenario in lockstep: together in one process, period by period, with arrays over all of them.

    from peerwatt.sim.lockstep import obstacle, run_lockstep

    if not (reason := obstacle(scenario)):
        figures = run_lockstep(scenario, range(1000))  # of each replica, the key figures that it has alone

Draws, books, clearings and payments are those of one replica alone (`peerwatt.sim.model.Simulation`), bit by bit; power
flows are solved in a batch, and agree to the solver's tolerance. What the loop does is in `trading`, `flows` and
`accounts`; arrays are flat over (n_replicas, n_periods, n_peers), so that what is written for the peers of one period
serves for all.
"""

from peerwatt.sim.lockstep.qualify import obstacle
from peerwatt.sim.lockstep.run import run_lockstep

__all__ = ["obstacle", "run_lockstep"]
