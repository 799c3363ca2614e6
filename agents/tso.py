"""The transmission system operator: asks peers for frequency regulation by a virtual load (Marques et al., IV-B).

The virtual load stands at the high-voltage side of the transformer: it draws for regulation up, as peers that supply it
feed in more, and feeds in for regulation down. It takes part in the market like a peer and changes no flow in the
distribution grid by itself. The TSO knows what its virtual load has traded and what it exchanges with the distribution
grid, not who trades with whom.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
from mesa import Model

from peerwatt.agents.context import DSO, TSO, Context, Process, Role
from peerwatt.agents.correspondence import write_peers
from peerwatt.agents.orders import RegulationAnswer, RegulationNotice, RegulationReadings, VirtualLoadRequest
from peerwatt.agents.records import Regulation
from peerwatt.agents.regulation import RegulationSource

__all__ = ["Tso"]


class Tso(Role):
    """Requests regulation, hears what it gets, and sees at delivery what came of it.

    Args:
        model: the Mesa model.
        context: what it can reach.
        source: where its requests come from.
    """

    def __init__(self, model: Model, context: Context, source: RegulationSource) -> None:
        super().__init__(model, context, TSO)
        self._source = source

    def run(self) -> Process:
        """A request at the start of a period, an answer after trading, readings at delivery."""
        context = self.context
        row = np.flatnonzero(context.population.virtual)
        for period in count():
            yield context.clock.until(period * context.period_s)
            p_mw, price = self._source.request(period)
            if p_mw:
                write_peers(context, VirtualLoadRequest, self.name, (p_mw, price), only=row)
                context.bus.send((RegulationNotice(self.name, DSO, period, p_mw),))
            answer = RegulationAnswer(DSO, self.name, period, p_mw, 0.0, -1, -1)
            readings = None
            while readings is None:
                yield self.inbox.arrival()
                for message in self.inbox.take():
                    if type(message) is RegulationAnswer:
                        answer = message
                    elif type(message) is RegulationReadings:
                        readings = message
            self._record(answer, readings, price)

    def _record(self, answer: RegulationAnswer, readings: RegulationReadings, price: float) -> None:
        now = self.context.now
        imbalance = readings.scheduled_mw - readings.delivered_mw  # more drawn than planned is missing elsewhere
        known = np.isfinite(imbalance) and np.isfinite(readings.provided_mw)
        found = self._source.note(readings.period, *((imbalance, readings.provided_mw) if known else (0.0, 0.0)))
        if not known:
            nan = np.nan
            found = replace(found, imbalance_mw=nan, deviation_hz=nan, deviation_without_hz=nan, nadir_hz=nan)
        now.regulation = Regulation(
            requested_mw=answer.requested_mw,
            accepted_mw=answer.accepted_mw,
            provided_mw=readings.provided_mw,
            price_eur_per_mwh=price if answer.requested_mw else np.nan,
            branch=answer.branch,
            bus=answer.bus,
            frequency=found,
        )
