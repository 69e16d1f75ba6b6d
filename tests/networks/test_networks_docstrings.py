"""Every public network and loss says its shapes and its source, and shows an example that runs."""

import doctest
import importlib
import inspect
import re

import pytest

from medframe import losses, networks

PUBLIC = [pytest.param(p, n, id=n) for p in (networks, losses) for n in p.__all__]
CLASSES = [c for c in PUBLIC if inspect.isclass(getattr(*c.values))]
OF_NO_PAPER = {"KeyReport", "CrossEntropyLoss"}  # a report; the mean of -log p
OF_NO_SHAPE = {"KeyReport"}


@pytest.mark.parametrize(("package", "name"), CLASSES)
def test_names_its_paper_its_shapes_and_an_example(package, name):
    text = inspect.getdoc(getattr(package, name))
    assert name in OF_NO_PAPER or re.search(r"doi:10\.\d{4,}/\S|arXiv:\d{4}\.\d{4,5}", text)
    assert name in OF_NO_SHAPE or re.search(
        r"\(B, |\(B,\)|[Tt]akes\s+what\s+`\w+`\s+takes|answers \(logits\) of any shape", text
    )
    assert ">>>" in text
    assert "Raises:" in text or name == "KeyReport"


MODULES = sorted({getattr(*c.values).__module__ for c in PUBLIC})


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0
