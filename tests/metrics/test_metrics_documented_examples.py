"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import medframe.metrics

MODULES = [module.name for module in pkgutil.iter_modules(medframe.metrics.__path__, "medframe.metrics.")]


@pytest.mark.parametrize("name", MODULES)
def test_documented_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    with_examples = [n for n in MODULES if any(t.examples for t in finder.find(importlib.import_module(n)))]
    assert len(with_examples) >= 8
