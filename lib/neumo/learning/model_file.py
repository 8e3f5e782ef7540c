"""Mira un archivo `.keras` antes de que Keras lo abra: solo pasa una red hecha de las piezas que usa esta biblioteca."""

import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neumo.errors import NeumoError

if TYPE_CHECKING:
    import h5py

_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
_CONFIG_BYTES = 2**20  # la mayor de las nuestras no llega a 50 kB
_VALUES = 2**26  # el mayor tensor de una imagen, con 512 píxeles de lado y 128 filtros, es la mitad
# Módulo de Keras -> clases que se aceptan de él: las de `networks` y las de compilar.
_ALLOWED = {
    None: "__keras_tensor__",
    "keras": "DTypePolicy Sequential",
    "keras.initializers": "GlorotUniform HeNormal Ones Zeros",
    "keras.layers": "Activation Add Average AveragePooling2D BatchNormalization Conv2D Cropping2D Dense Dropout Flatten "
    "GlobalAveragePooling2D InputLayer LayerNormalization MaxPooling2D ReLU Rescaling",
    "keras.losses": "BinaryCrossentropy",
    "keras.metrics": "BinaryAccuracy",
    "keras.optimizers": "Adam",
    "keras.optimizers.schedules": "CosineDecay",
    "keras.regularizers": "L2",
    "keras.src.models.functional": "Functional",
    "keras.src.ops.image": "Resize",
    "keras.src.ops.numpy": "Concatenate Flip Mean Pad Reshape",
}
_NO_SIZE = ("seed", "_steps", "_id")
_ACTIVATIONS = (None, "linear", "relu", "sigmoid")


def check(path: Path) -> dict[str, Any]:
    """Comprueba un archivo `.keras` y devuelve su configuración (`config.json`).

    Nada de él se ejecuta, se extrae al disco ni se pide en memoria más allá de lo que el archivo ocupa.

    Raises
    ------
    NeumoError
        Si falta, está dañado, o trae una clase, un enlace o un tamaño que las redes de `neumo.learning.networks` no
        tienen.
    """
    try:
        config, weights = _read(path)
        problem = next(_problems(config, len(weights)), None) or next(_weight_problems(weights), None)
    except Exception as error:  # un archivo hecho a mano puede fallar con cualquier clase de error
        raise damaged(path, error) from error
    if problem:
        raise NeumoError(
            f"No se abre la red «{path.name}»: {problem}. Las de este proyecto no lo traen: use solo redes que haya "
            "escrito `make report`."
        )
    return config


def damaged(path: Path, error: Exception) -> NeumoError:
    """Devuelve el error de una red que no se puede leer."""
    return NeumoError(
        f"No se puede cargar la red «{path.name}» ({type(error).__name__}): falta o está dañada. Haga `make report`, "
        "que la escribe de nuevo."
    )


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Configuración y pesos, leídos con su suma de comprobación."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # Keras guarda sin comprimir: así nada ocupa en memoria más que en el disco.
        plain = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if path.suffix != ".keras" or sorted(member.filename for member in members) != sorted(_MEMBERS) or not plain:
            raise ValueError("no es un archivo de Keras")
        if archive.getinfo("config.json").file_size > _CONFIG_BYTES:
            raise ValueError("configuración demasiado larga")
        config = json.loads(archive.read("config.json"))
        if not config["config"]["layers"]:
            raise ValueError("no tiene capas")
        return config, archive.read("model.weights.h5")


def _problems(config: dict[str, Any], size: int) -> Iterator[str]:
    """Lo que una configuración trae y las nuestras no."""
    values = 0.0
    for node in _nodes(config):
        if (declared := _declared(node)) > _VALUES:
            yield f"declara un tamaño de {declared:.0e} valores"
        if isinstance(node, list):
            continue
        if node.get("activation") not in _ACTIVATIONS:
            yield f"usa la activación «{node['activation']}»"
        if "class_name" in node:
            module, name = node.get("module"), node["class_name"]
            if name not in _ALLOWED.get(module, "").split() or node.get("registered_name") not in (None, name):
                yield f"trae «{name}» de «{module}»"
            values += _weights(name, node)
    if 4 * values > 2 * size + _CONFIG_BYTES:
        yield f"declara {values:.0e} pesos y guarda {size} bytes"


def _nodes(tree: Any) -> Iterator[Any]:
    """Todo diccionario y toda lista de una estructura de JSON."""
    if isinstance(tree, dict | list):
        yield tree
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _nodes(item)


def _declared(node: Any) -> float:
    """Valores que pide una forma (`[null, 64, 64, 1]`) o el mayor de los lados sueltos; no lo son semillas, pasos ni identificadores."""
    if isinstance(node, list):
        return _product(node) if all(isinstance(item, int | float | None) for item in node) else 0
    sides = [abs(side) for key, side in node.items() if isinstance(side, int | float) and not key.endswith(_NO_SIZE)]
    return max(sides, default=0) ** 2


def _product(shape: list) -> float:
    return math.prod(max(abs(side), 1) for side in shape if side)


def _weights(name: str, layer: dict[str, Any]) -> float:
    """Pesos que una capa pedirá al construirse: los decide la forma de entrada que lleva anotada."""
    options = layer["config"]
    if name not in ("Dense", "Conv2D", "BatchNormalization", "LayerNormalization"):
        return 0
    shape = [side for side in layer["build_config"]["input_shape"] if side]
    if name == "Dense":
        return shape[-1] * options["units"]
    if name == "Conv2D":
        return shape[-1] * options["filters"] * _product(options["kernel_size"])
    if name == "BatchNormalization":
        return 4 * max(shape)
    return _product(shape) if options.get("center", True) or options.get("scale", True) else 0


def _weight_problems(content: bytes) -> Iterator[str]:
    """Lo que un HDF5 puede traer además de vectores: enlaces, almacenes ajenos, vistas y tamaños que no guarda."""
    import h5py

    found: list[str] = []

    def look_at_link(name: str, link: Any) -> None:
        if not isinstance(link, h5py.HardLink):
            found.append(f"sus pesos enlazan con otro archivo o lugar («{name}»)")

    def look_at(name: str, item: "h5py.Group | h5py.Dataset") -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            found.append(f"sus pesos están en otro archivo («{name}»)")
        elif item.chunks or item.dtype.kind not in "biuf" or item.nbytes > len(content):
            found.append(f"sus pesos declaran más de lo que guardan («{name}»)")

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems_links(look_at_link)
        if not found:
            file.visititems(look_at)
    yield from found
