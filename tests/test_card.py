import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from neumo import references
from neumo.report import display
from neumo.studies import card

CHOSEN = {
    "model": "mejorado",
    "seeds": [0, 1],
    "threshold": 0.5,
    "temperature": {"mejorado": 2.0},
    "files": {"mejorado": ["models/mejorado-0.keras", "models/mejorado-1.keras"]},
}


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    first = pd.DataFrame({"path": [f"{i}.jpeg" for i in range(80)], "group": [f"p{i // 2}" for i in range(80)]})
    first["y_true"] = np.repeat([0, 1], 40)
    first["subtype"] = np.where(first["y_true"] == 0, "", np.where(np.arange(80) % 2, "virus", "bacteria"))
    tables = [
        first.assign(model=model, seed=seed, logit=4.0 * first["y_true"] - 2 + rng.normal(0, 2, 80))
        for model in ("mejorado", "original")
        for seed in (0, 1)
    ]
    return pd.concat(tables).sample(frac=1, random_state=0)


def test_the_card_scores_what_predict_would(predictions):
    scores = card.chosen_scores(predictions, CHOSEN).set_index("path")
    part = predictions[predictions["model"] == "mejorado"]
    expected = part.groupby("path")["logit"].mean() / 2
    pd.testing.assert_series_equal(scores["logit"].sort_index(), expected, check_names=False)
    assert ((scores["probability"] >= 0.5) == (scores["logit"] >= 0)).all()


def card_text(predictions, description="una carpeta", *, synthetic=True, citation="", **described):
    scores = card.chosen_scores(predictions, CHOSEN)
    table = scores.rename(columns={"y_true": "y"}).assign(partition="test", **described)
    table = table.assign(original_split="test", patient_known=True)
    overall, subgroups = card.results(scores, table, threshold=0.5, resamples=200, seed=0)
    source = {"description": description, "synthetic": synthetic, "official_test": False, "citation": citation}
    results = {"overall": overall, "subgroups": subgroups, "checks": "- nada que decir"}
    return card.model_card(chosen=CHOSEN, source=source, table=table, image_size=96, external="Nada.", **results)


def test_the_card_says_what_it_must(predictions):
    text = card_text(predictions)
    for phrase in (
        "\nUna carpeta. Son imágenes **sintéticas**",
        "No es un producto sanitario",
        "### Uso previsto",
        "### Fuera de alcance",
        "sintéticas",
        "ya traían apartada las imágenes",
        "conjunto de 2 redes",
        "neumonía bacteriana (sensibilidad)",
        "normal (especificidad)",
        "| prueba | 40 | 40 | 40 |",
    ):
        assert phrase in text
    assert "{" not in text


def test_the_groups_of_a_table_are_in_the_card_and_in_claim_36(predictions):
    text = card_text(predictions, by_sex="mujer", by_Centro="a|b")
    assert "No se conocen edad, sexo, gravedad ni aparato" in card_text(predictions)
    assert "de cada imagen: la clase, sexo, Centro y la etiología. No se conocen edad, gravedad ni aparato" in text
    unknown = predictions.assign(subtype="PNEUMONIA")
    assert "de cada imagen: la clase. No se conocen edad" in card_text(unknown)
    assert "| sexo: mujer (sensibilidad) |" in text
    assert "| Centro: a\\|b (especificidad) |" in text
    row = card.claim_table(references.claim(), origin="cited", described=True).splitlines()[37]
    assert row.startswith("| 36 |")
    assert "[](#cap-02): las que trae la tabla" in row


def test_the_name_of_a_folder_is_text_and_not_markup(predictions):
    name = "carpeta «*a*_b_<b>`c`[d](e)$f$|~~g~~&lt;[^h]{i}# \\*j»"
    soup = BeautifulSoup(display.prose(card_text(predictions, name)).html, "html.parser")
    paragraph = next(p for p in soup.find_all("p") if "arpeta" in p.get_text())
    assert paragraph.get_text().startswith(f"C{name[1:]}. Son imágenes")
    assert [tag.name for tag in paragraph.find_all(True)] == ["strong"]


def test_the_claim_list_is_whole_and_explains_what_it_lacks():
    items = references.claim()
    assert [item["item"] for item in items] == list(range(1, 45))
    assert all(item["note"] for item in items if not item["chapter"])
    rows = card.claim_table(items, origin="cited").splitlines()[2:]
    assert rows[19].startswith("| 20 | Particiones |")
    assert "[](#cap-02): por paciente" in rows[19]
    assert all(row.count("|") == 5 for row in rows)
    drawn = card.claim_table(items, origin="synthetic").splitlines()[2:]
    assert "no hay anotadores" in drawn[17]
    assert drawn[19] == rows[19]
    unknown = "\n".join(card.claim_table(items, origin="unknown").splitlines()[2:])
    assert not re.search("autores|médico", unknown)


def test_of_images_without_a_known_origin_the_card_tells_nothing_of_who_made_them(predictions):
    text = card_text(predictions, synthetic=False)
    assert "Quién puso la etiqueta, y mirando qué, no consta" in text
    assert "médicos" not in text
    assert "consintió" not in text
    assert "médicos" in card_text(predictions, synthetic=False, citation="Kermany et al.")
