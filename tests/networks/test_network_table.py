"""The table of docs/networks.md has every network of the contract, and its script still makes each of them."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module("network_table")
    for name in set(sys.modules) - before:
        if name == "measure" or name.startswith("network_"):
            del sys.modules[name]


def test_every_network_has_its_row(table):
    kept = json.loads((BENCHMARKS / "results" / "network_table.json").read_text())
    assert set(table.traits()) == set(table.CASES)
    assert [row["network"] for row in kept["networks"]] == list(table.CASES)


@pytest.mark.parametrize("name", ["SPADENet", "GlobalNet", "VoxelMorph", "Generator", "ControlNet", "ViTAutoEnc"])
def test_the_script_makes_networks_and_what_they_take(table, name):
    kept = json.loads((BENCHMARKS / "results" / "network_table.json").read_text())
    row = next(row for row in kept["networks"] if row["network"] == name)
    network, inputs = table.made(name, 2)
    network(*inputs)
    assert sum(p.numel() for p in network.parameters()) == row["2-D"]["parameters"]
