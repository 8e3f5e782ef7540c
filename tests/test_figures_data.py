"""Las figuras de los datos: se miran textos, límites y colores de lo dibujado, no píxeles."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from neumo.figures import data as figures
from neumo.figures.style import CLASS_COLOURS, NORMAL, PNEUMONIA

pytestmark = pytest.mark.usefixtures("close_figures")


def test_class_counts_write_every_count_in_a_panel_per_table():
    counts = pd.DataFrame({"NORMAL": [3, 1], "PNEUMONIA": [8, 2]}, index=["train", "test"])
    here, there = figures.class_counts({"aquí": counts, "allí": 10 * counts})[0]
    assert [text.get_text() for text in here.texts] == ["3", "1", "8", "2"]
    assert [text.get_text() for text in there.texts] == ["30", "10", "80", "20"]
    assert [label.get_text() for label in here.get_xticklabels()] == ["entrenamiento", "prueba"]
    assert [mpl.colors.to_hex(bars[0].get_facecolor()) for bars in here.containers] == [
        colour.lower() for colour in CLASS_COLOURS.values()
    ]


def test_image_grid_gives_each_title_the_colour_of_its_class():
    titles = ["NORMAL", "PNEUMONIA virus", "sin aumento"]
    grid = figures.image_grid([np.zeros((8, 8), np.uint8)] * 3, titles, columns=2)
    assert grid.shape == (2, 2)
    assert [ax.title.get_color() for ax in grid.flat[:3]] == [NORMAL, PNEUMONIA, "black"]
    assert not grid[1, 1].images


def test_images_per_patient_count_patients_and_not_images():
    table = pd.DataFrame({"label": ["NORMAL"] * 3 + ["PNEUMONIA"] * 3, "group": list("aabccc")})
    ax = figures.images_per_patient(table)
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    assert sorted(heights) == [[0, 0, 1], [1, 1, 0]]
    assert [text.get_text() for text in ax.get_legend().texts] == ["NORMAL", "PNEUMONIA"]


def test_sizes_circle_the_odd_images_and_ratios_carry_their_limits():
    flags = pd.DataFrame({"width": [100, 300, 120], "height": [100, 100, 110], "odd_aspect": [False, True, False]})
    flags = flags.assign(label=["NORMAL", "PNEUMONIA", "PNEUMONIA"], aspect=flags["width"] / flags["height"])
    ax = figures.image_sizes(flags, target=64)
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), [[300, 100]])
    assert [text.get_text() for text in ax.get_legend().texts] == ["NORMAL", "PNEUMONIA", "rara", "64×64"]
    ax = figures.aspect_ratios(flags, limits=(0.5, 2))
    assert [line.get_xdata()[0] for line in ax.lines] == [0.5, 2]
