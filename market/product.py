"""What is traded: energy or capacity (D5.3, section 3.2.1).

Energy is paid per MWh. Capacity is a change of power that somebody keeps ready for, or holds, during one
market period, and is paid per MW and period; its direction says which way net power changes. Two products of
other places, directions or periods are different products, each with a book of its own.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Direction", "Product"]


class Product(StrEnum):
    """A product.

    Attributes:
        ENERGY: MWh delivered in the period.
        CAPACITY: MW of flexibility during the period.
    """

    ENERGY = "energy"
    CAPACITY = "capacity"

    @property
    def unit(self) -> str:
        """Unit of its price."""
        return "EUR/MWh" if self is Product.ENERGY else "EUR/MW"


class Direction(StrEnum):
    """Which way net power changes, positive into the grid.

    Attributes:
        UP: more fed in or less drawn.
        DOWN: less fed in or more drawn.
    """

    UP = "up"
    DOWN = "down"
