"""Pages escape everything, and pictures show what they say."""

import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter

from medframe.base import BadArgument
from medframe.image import Image, LabelMap
from medframe.viz import Page, curves, dots, overlay, to_png, to_svg


def test_everything_is_escaped(tmp_path):
    page = Page("<b>title</b>", "lead & more")
    page.table(("<i>",), [("<script>alert(1)</script>",), (float("nan"),), (0.123456,)])
    page.code("<pre>", summary="<s>")
    page.key([("<k>", "#123456")])
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    for raw in ("<script>", "<b>title", "<i>", "<k>"):
        assert raw not in text
    assert "0.1235" in text
    assert "default-src 'none'" in text


def test_an_overlay_marks_the_label_where_it_lies():
    affine = np.array([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    image = Image(torch.rand(1, 20, 24, 12), affine)
    data = torch.zeros(1, 20, 24, 12, dtype=torch.uint8)
    data[0, 2:6, 3:9, 4:8] = 1
    drawn = overlay(image, {"reference": LabelMap(data, affine)})
    axes = drawn.axes
    assert len(axes) == 3
    lines = [p for p in axes[0].collections[0].get_paths() if len(p.vertices)]
    middle = np.concatenate([p.vertices for p in lines]).mean(0)
    # stored left-handed: index 2..5 of 20 along -x are 14..17 from the left edge in RAS, in millimetres
    assert abs(middle[0] - 16.0) < 0.6
    assert abs(middle[1] - 6.0) < 0.6
    letters = {t.get_text() for t in axes[0].texts}
    assert letters == {"R", "L", "A", "P"}
    assert to_png(drawn).startswith("data:image/png;base64,")
    assert DisplayFormatter().format(drawn)[0]["image/png"].startswith(b"\x89PNG")  # at the end of a notebook's cell


def test_overlay_in_two_dimensions_and_its_errors():
    image = Image(torch.rand(1, 8, 9))
    label = LabelMap(torch.ones(1, 8, 9, dtype=torch.uint8))
    assert len(overlay(image, {"a": label, "b": label}).axes) == 1
    with pytest.raises(BadArgument):
        overlay(image, {})


def test_plots_hold_their_data():
    drawn = curves({"loss": ([1, 2, 3], [3.0, 2.0, 1.0])}, xlabel="step", ylabel="loss")
    assert np.array_equal(drawn.axes[0].lines[0].get_ydata(), [3, 2, 1])
    assert to_svg(drawn).startswith("<svg")
    scatter = dots({"a": [0.5, 0.7, float("nan")], "b": [float("nan")]}, ylabel="Dice")
    assert len(scatter.axes[0].collections[0].get_offsets()) == 2
