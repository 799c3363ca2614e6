from __future__ import annotations

import copy
import logging

import pytest

from peerwatt.grid import load_case, simbench_case
from peerwatt.grid.cache import _warn_once
from peerwatt.grid.simbench_case import simbench_net

VILLAGE = "1-LV-semiurb4--2-sw"


@pytest.fixture(scope="session")
def village_net():
    return simbench_net(VILLAGE)


@pytest.fixture(scope="session")
def village_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def village(village_net, village_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEERWATT_CACHE", str(village_cache))
        patch.setattr(simbench_case, "simbench_net", lambda code: copy.deepcopy(village_net))
        return load_case(f"simbench:{VILLAGE}")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test has a cache of its own."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("PEERWATT_CACHE", str(directory))
    _warn_once.cache_clear()
    logging.getLogger("peerwatt").setLevel(logging.NOTSET)
    return directory
