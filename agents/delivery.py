"""What peers do at delivery for the flexibility that they have sold, and how much of it counts as delivered.

An activation is a promise about the connection point. With s the schedule of the peer and d its net power,

    curtailment and more consumption   d <= s - activated     a cap on what is fed in
    reduction                          d >= s + activated     a cap on what is drawn

and with both d = s + upward - downward. So a forecast error in the direction of the promise leaves less to do, one in
the other direction more, as far as there is something to reduce, to curtail or to take on. Whoever stays within a cap
has no imbalance from it: what is offered leaves what is traded alone (`peerwatt.agents.offers`), thus d falls short of
the trade only where it would without the activation.

*Delivered* is what the devices do because of the activation: consumption that was reduced, generation that was there
and was not used, consumption that was added, each up to what was activated. The baseline is what would have happened
without the activation, so that nobody is paid for weather; what a cap takes beyond the activation is not paid either.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.devices import CURTAIL, RAISE, REDUCE, Outlook
from peerwatt.agents.directive import Directive
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import FloatArray

__all__ = ["carried_out", "delivered_share"]


def carried_out(
    directive: Directive,
    forecast: Outlook,
    realised: Outlook,
    position: Position,
    battery_mw: FloatArray,
    followed_mw: FloatArray,
    activated_mw: FloatArray,
) -> FloatArray:
    """What devices do for a flexibility market, (n_peers, n_products).

    Args:
        directive: what peers are ordered besides.
        forecast: by which they have made their schedule.
        realised: what happens.
        position: what they bring to the market.
        battery_mw: (n_peers,) dispatch of the batteries.
        followed_mw: (n_peers,) by how much they move for their trades, as they know of them.
        activated_mw: (n_peers, n_products) what they know to be activated.
    """
    if not activated_mw.any():
        return np.zeros_like(activated_mw)
    scheduled, found = (
        directive.schedule(outlook, position, battery_mw, followed_mw)[0] for outlook in (forecast, realised)
    )
    ahead = found - scheduled  # above 0: more is fed in, or less drawn, than planned
    up, down = activated_mw[:, REDUCE], activated_mw[:, CURTAIL] + activated_mw[:, RAISE]
    # What has to be done less as it happens by itself, and more where nothing else meets the promise.
    upward = up - np.clip(ahead, 0.0, up) + np.where(up > 0.0, np.maximum(-ahead - down, 0.0), 0.0)
    downward = down - np.clip(-ahead, 0.0, down) + np.where(down > 0.0, np.maximum(ahead - up, 0.0), 0.0)
    extra, own = directive.devices(position, followed_mw)
    own = realised.possible(own)
    left = np.stack(
        (
            -realised.load_mw - own[:, REDUCE],
            realised.generation_mw - own[:, CURTAIL],
            np.maximum(realised.band_mw - np.maximum(extra, 0.0) - own[:, RAISE], 0.0),
        ),
        axis=1,
    )
    left = np.where(activated_mw > 0.0, left, 0.0)
    done = np.zeros_like(activated_mw)
    done[:, REDUCE] = np.minimum(upward, left[:, REDUCE])
    share = np.divide(activated_mw[:, CURTAIL], down, out=np.zeros(len(down)), where=down > 0.0)
    done[:, CURTAIL] = np.minimum(share * downward, left[:, CURTAIL])
    done[:, RAISE] = np.minimum(downward - done[:, CURTAIL], left[:, RAISE])
    done[:, CURTAIL] = np.minimum(downward - done[:, RAISE], left[:, CURTAIL])  # one takes what the other cannot
    return done


def delivered_share(done_mw: FloatArray, activated_mw: FloatArray) -> FloatArray:
    """Share of activations that is delivered, 0 where nothing is activated; arrays of one shape."""
    share: FloatArray = np.divide(
        np.minimum(done_mw, activated_mw), activated_mw, out=np.zeros_like(activated_mw), where=activated_mw > 0.0
    )
    return share
