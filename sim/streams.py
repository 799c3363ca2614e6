"""Named random streams: one independent generator per purpose.

Two mechanisms that are compared on the same seed and replica see the same weather, bids and faults, because
each purpose draws from a stream of its own: a mechanism that draws more ties does not shift the forecast.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["Streams"]


class Streams:
    """Random generators by name.

    Args:
        seed: root seed of the study, not negative.
        replica: number of the replica; becomes the spawn key.
    """

    def __init__(self, seed: int, replica: int = 0) -> None:
        self.seed = seed
        self.replica = replica
        self._generators: dict[str, np.random.Generator] = {}

    def __getitem__(self, name: str) -> np.random.Generator:
        """Return the generator of a purpose; the same name gives the same, running, generator."""
        if name not in self._generators:
            digest = hashlib.sha256(name.encode()).digest()
            key = (self.replica, *np.frombuffer(digest[:16], dtype="<u4").tolist())
            sequence = np.random.SeedSequence(self.seed, spawn_key=key)
            self._generators[name] = np.random.default_rng(sequence)
        return self._generators[name]
