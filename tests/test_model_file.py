"""Una red que trae otra persona: cada ataque es un archivo de verdad, y ninguno llega a Keras."""

import io
import json
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from neumo.errors import NeumoError
from neumo.learning.model_file import check
from neumo.params import Params

SIZE = 24


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Las nuestras, con todas sus piezas: un punto de control compilado, y la mejorada con vistas, en otra precisión."""
    pytest.importorskip("keras")
    from neumo.learning import networks, training

    folder = tmp_path_factory.mktemp("redes")
    options = {"width": 4, "l2": 0.01, "warmup_epochs": 1.0}
    original = Params().repaired.model_copy(update={"network": "original", **options})
    residual = original.model_copy(update={"network": "residual", "precision": "bfloat16"})
    training.compile_model(networks.build(original, SIZE, 1), original).save(folder / "original.keras")
    networks.with_views(networks.build(residual, SIZE, 1), 6).save(folder / "residual.keras")
    return folder


@pytest.fixture
def hostile(networks, tmp_path):
    """Función que reescribe una red nuestra: con otra configuración, otros pesos u otros miembros."""

    def write(change=None, weights=None, extra=(), compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(networks / "original.keras") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(members["config.json"])
        if change:
            config = change(config) or config
        members["config.json"] = config if isinstance(config, bytes) else json.dumps(config).encode()
        if weights:
            stored = io.BytesIO(members["model.weights.h5"])
            with h5py.File(stored, "r+") as file:
                weights(file, tmp_path)
            members["model.weights.h5"] = stored.getvalue()
        path = tmp_path / "ajena.keras"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in [*members.items(), *extra]:
                archive.writestr(name, content)
        return path

    return write


def test_our_own_networks_pass(networks):
    for path in networks.glob("*.keras"):
        assert check(path)["class_name"] in ("Sequential", "Functional"), path.name


def _layer(module, name, config, registered=None):
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


OBJECTS = [
    _layer("keras.layers", "Lambda", {"function": {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}}),
    _layer("keras.layers", "TorchModuleWrapper", {"module": "gASVIAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOU"}),
    _layer("keras.layers", "TFSMLayer", {"filepath": "/tmp/ajeno", "call_endpoint": "serving_default"}),
    _layer("keras.utils", "get_file", {"origin": "file:///etc/hostname"}),
    _layer("builtins", "function", "eval", "eval"),
    _layer("os", "system", {"command": "true"}),
    _layer("keras.layers", "Dense", {"units": 1}, "ajeno>Dense"),
    _layer("keras.src.legacy.layers", "Dense", {"units": 1}),
    _layer(None, "__typespec__", []),
    {"class_name": "Lambda", "config": {}},
]


@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: f"{item.get('module')}.{item['class_name']}")
@pytest.mark.parametrize("place", ["capa", "opción", "compilación"])
def test_a_class_that_is_not_ours_is_refused(hostile, item, place):
    def change(config):
        if place == "capa":
            config["config"]["layers"].append(item)
        elif place == "opción":
            config["config"]["layers"][2]["config"]["kernel_initializer"] = item
        else:
            config["compile_config"] = {"loss": [item]}

    with pytest.raises(NeumoError, match=rf"«ajena\.keras»: trae «{item['class_name']}».*`make report`"):
        check(hostile(change))


@pytest.mark.parametrize("activation", ["keras.utils>get_file", {"class_name": "function", "config": "eval"}, "exec"])
def test_an_activation_is_one_of_three_words(hostile, activation):
    def change(config):
        config["config"]["layers"][-1]["config"]["activation"] = activation

    with pytest.raises(NeumoError, match=r"«ajena\.keras»: usa la activación|trae «function»"):
        check(hostile(change))


def _set(index, group, **values):
    def change(config):
        config["config"]["layers"][index][group].update(values)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set(-1, "config", units=10**9), "tamaño"),
        (_set(-1, "config", units=8000), "pesos"),
        (_set(0, "config", batch_shape=[None, 10**6, 10**6, 1]), "tamaño"),
        (_set(2, "config", kernel_size=[9000, 9000]), "tamaño"),
        (_set(5, "config", filters=8000), "pesos"),
        (_set(-2, "build_config", input_shape=[None, 6 * 10**7]), "pesos"),
        (_set(-2, "build_config", input_shape=[None, 1e300, 1e300]), "tamaño"),
        (lambda config: config["config"]["layers"][-1].pop("build_config") and config, "dañada"),
        (lambda config: b'{"config": ' + b"[" * 200_000, "dañada"),
        (lambda config: b'{"config": {"layers": []}}' + b" " * 2**20, "dañada"),
        (lambda config: b"[]", "dañada"),
    ],
)
def test_no_size_beyond_what_the_file_holds_is_asked_for(hostile, change, said):
    with pytest.raises(NeumoError, match=rf"(?s)«ajena\.keras».*{said}"):
        check(hostile(change))


def _vector(file):
    return next(iter(file["layers/dense/vars"].values())).parent, "0"


def _replace(make):
    def weights(file, folder):
        parent, name = _vector(file)
        del parent[name]
        make(parent, name, folder)

    return weights


def _external(parent, name, folder):
    (folder / "ajeno.bin").write_bytes(bytes(400))
    parent.create_dataset(name, (100,), "f4", external=[(str(folder / "ajeno.bin"), 0, 400)])


def _virtual(parent, name, folder):
    layout = h5py.VirtualLayout((100,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "ajeno.h5"), "x", (100,))
    parent.create_virtual_dataset(name, layout)


HDF5 = {
    "almacén externo": _external,
    "enlace externo": lambda parent, name, folder: parent.__setitem__(name, h5py.ExternalLink("/etc/hostname", "/")),
    "enlace": lambda parent, name, folder: parent.__setitem__(name, h5py.SoftLink("/layers")),
    "vista virtual": _virtual,
    "10^18 valores": lambda parent, name, folder: parent.create_dataset(name, (10**9, 10**9), "f4"),
    "bomba": lambda parent, name, folder: parent.create_dataset(
        name, (1000, 1000), "f4", compression="gzip", fillvalue=0
    ),
    "textos": lambda parent, name, folder: parent.create_dataset(name, data=["x"]),
}


@pytest.mark.parametrize("attack", HDF5)
def test_weights_live_whole_inside_the_file(hostile, attack):
    with pytest.raises(NeumoError, match=r"«ajena\.keras»: sus pesos .*`make report`"):
        check(hostile(weights=_replace(HDF5[attack])))


def test_an_archive_is_three_plain_members(hostile, tmp_path):
    for extra in (("assets/x", b""), ("../fuera", b""), ("model.weights.npz", b"")):
        with pytest.raises(NeumoError, match="dañada"):
            check(hostile(extra=[extra]))
    with pytest.warns(UserWarning, match="Duplicate"), pytest.raises(NeumoError, match="dañada"):
        check(hostile(extra=[("config.json", b"{}")]))
    with pytest.raises(NeumoError, match="dañada"):  # comprimida, un mebibyte de pesos podrían ser mil
        check(hostile(compression=zipfile.ZIP_DEFLATED))
    renamed = tmp_path / "vieja.keras"
    with h5py.File(renamed, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Lambda"})
    (tmp_path / "carpeta.keras").mkdir()
    for path in (renamed, tmp_path / "carpeta.keras", tmp_path / "no-existe.keras"):
        with pytest.raises(NeumoError, match=rf"«{path.name}».*dañada.*`make report`"):
            check(path)


def test_a_group_that_holds_itself_does_not_hang(hostile):
    check(hostile(weights=lambda file, folder: file["layers"].__setitem__("vuelta", file["layers"])))


def test_a_flipped_bit_is_seen(networks, tmp_path):
    content = bytearray((networks / "residual.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "red.keras").write_bytes(content)
    with pytest.raises(NeumoError, match="BadZipFile.*dañada"):
        check(tmp_path / "red.keras")


CODE = "import os; os.system('touch pwned')"


def test_the_command_refuses_code_with_one_sentence(hostile, tmp_path):
    """De punta a punta: la orden da una frase, sin traza, y el código de la red no corre."""
    from PIL import Image

    path = hostile(
        lambda config: config["config"]["layers"].insert(
            1, _layer("keras.layers", "Lambda", {"function": _layer("builtins", "exec", CODE), "name": "x"})
        )
    )
    run = tmp_path / "corrida"
    run.mkdir()
    path.rename(run / "original-0.keras")
    chosen = {"model": "original", "thresholds": {"original": 0.5}, "temperature": {"original": 1.0}}
    files = {"original": ["original-0.keras"]}
    (run / "chosen.json").write_text(json.dumps({**chosen, "files": files}))
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "placa.png")
    order = [sys.executable, "-m", "neumo", "predict", "--run", str(run), "placa.png"]
    done = subprocess.run(order, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: No se abre la red «original-0.keras»: trae «Lambda»")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "pwned").exists()
