"""Lo común de las figuras: sitio para los rótulos y mapas sobre su radiografía."""

import numpy as np
import pytest

from neumo.figures.style import blend, spread


@pytest.mark.parametrize("places", [[0.5] * 5, [0.9, 0.1, 0.95, 0.97], [1.0], [0.2] * 20, []])
def test_spread_keeps_the_order_the_distance_and_the_limits(places):
    placed = spread(places, 0.15)
    gap = min(0.15, 1 / max(1, len(places) - 1))
    assert ((placed >= -1e-9) & (placed <= 1 + 1e-9)).all()
    assert (np.diff(np.sort(placed)) >= gap - 1e-9).all()
    assert (np.argsort(placed) == np.argsort(places, kind="stable")).all()


def test_blend_leaves_the_radiograph_alone_where_there_is_no_heat():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    heat = np.zeros((4, 4))
    assert (blend(grey, heat) == grey[..., None]).all()
    heat[0, 0] = 1
    assert (blend(grey, heat)[0, 0] != grey[0, 0]).any()
    assert (blend(grey, heat)[-1, -1] == grey[-1, -1]).all()
