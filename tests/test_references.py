"""Lo que se cita y lo que se supone, contra los parámetros que lo usan."""

from neumo import references
from neumo.learning import networks
from neumo.learning.training import differences
from neumo.params import Experiment, Params
from neumo.studies import architecture


def test_assumptions_are_the_defaults_of_the_experiments():
    defaults = {"original": Experiment().model_dump()}
    for item in references.original()["assumptions"]:
        group, _, name = (item["parameter"] or "").partition(".")
        if group == "original" and name != "channels":
            assert references._look_up(defaults, item["parameter"]) == item["value"], item["name"]


def test_assumptions_show_what_the_run_uses():
    last = Experiment(kernel_size=4, epochs=5, augmentation=None)
    params = Params(channels=3, attempts={"intento_1": dict(last)})
    here = references.assumptions(params.experiment("original"), params.tried()[-1]).set_index("name")["here"]
    assert (here["tamaño del filtro"], here["canales"], here["épocas del cuarto intento"]) == (4, 3, 5)
    assert here["zoom"] is None
    usual = references.assumptions(Params().experiment("original"), Params().tried()[-1])
    assert usual["reason"].str.len().gt(0).all()


def test_the_layers_quoted_are_those_of_the_network():
    network = architecture.layer_table(networks.build(Params().experiment("original"), 32, 1))
    quoted = [layer["type"] for layer in references.original()["layers"]]
    assert list(network["type"])[-13:] == quoted


def test_the_attempts_are_those_quoted():
    quoted = {item["name"]: item["learning_rate"] for item in references.original()["attempts"]}
    assert {a.name: a.learning_rate for a in Params().tried()} == quoted


def test_differences_show_only_what_is_not_shared():
    original, repaired = (Params().experiment(name) for name in ("original", "reparado"))
    table = differences([original, repaired])
    assert list(table.columns) == ["original", "reparado"]
    assert list(table.loc["batchnorm_momentum"]) == ["0.99", "0.9"]
    assert "network" not in table.index
    assert (
        differences([original, repaired.model_copy(update={"augmentation": None})], augmentation=True).loc[
            "zoom_range", "original"
        ]
        == "0.2"
    )


def test_a_published_accuracy_is_a_count_of_the_624_unless_it_is_a_mean():
    """Una exactitud que no es k/624 no salió de una red y de esas imágenes; una media ha de decirlo."""
    for row in references.published():
        reachable = any(round(k / 624, 3) == row["accuracy"] for k in range(625))
        assert reachable or row.get("mean"), row["who"]
        assert row["on_test"] in ("sí", "no", "no consta"), row["who"]
        assert row["weights"] in ("–", "desde cero", "búsqueda", "ImageNet"), row["who"]
    doerrich = [row for row in references.published() if row["source"].startswith("Doerrich")]
    assert {row["weights"] for row in doerrich} == {"ImageNet"}
    assert not [row for row in references.published() if "MedViT" in row["who"]]
