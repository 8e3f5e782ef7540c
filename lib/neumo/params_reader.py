"""Lee los archivos de parámetros, `SET` y las celdas, y dice en español qué no vale."""

import difflib
import functools
import json
import math
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from neumo.errors import NeumoError
from neumo.params import Experiment, Params

_LARGEST = (
    100_000  # letras de un archivo, o valores con sus alias desplegados; los de `params/` no llegan a la décima parte
)
_Group = TypeVar("_Group", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """`SafeLoader` sin claves repetidas ni sorpresas de YAML 1.1: `010` no es 8, `1:30` no es 90, `1e-6` es un número."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in known if tag.endswith((":bool", ":null", ":merge"))]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_document(self, node: yaml.Node) -> Any:
        if _unfolded(node, {}) > _LARGEST:
            raise NeumoError(
                "repite con alias (`*nombre`) más de lo que un archivo de parámetros puede decir. Quítelos."
            )
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key) for key, _ in node.value]
        if repeated := sorted({str(key) for key in keys if keys.count(key) > 1}):
            raise NeumoError(f"clave repetida: {', '.join(repeated)}. Deje una sola.")
        return super().construct_mapping(node, deep)


for _tag, _pattern, _read in (
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+$", int),
    ("tag:yaml.org,2002:float", r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?$", float),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern, re.I), list("-+.0123456789"))
    _Loader.add_constructor(_tag, lambda loader, node, read=_read: read(node.value))


class _NameLoader(_Loader):
    """Lee nombres: `007`, `no` o `2024` son lo que se escribió."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in known if tag.endswith(":null")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_NAMES = re.compile(r"(data_dir|class_names|image_table\b.*)$")


def _unfolded(node: yaml.Node, known: dict[int, float]) -> float:
    """Valores de un documento con los alias desplegados; infinitos, si un alias se contiene a sí mismo."""
    if id(node) not in known:
        known[id(node)] = math.inf  # hasta que se sepa: así lo ve quien vuelva a entrar en él
        inside = node.value if isinstance(node, yaml.CollectionNode) else ()
        children = (child for item in inside for child in (item if isinstance(item, tuple) else (item,)))
        known[id(node)] = 1 + sum(_unfolded(child, known) for child in children)
    return known[id(node)]


def _parse_yaml(text: str, where: str, *, loader: type[_Loader] = _Loader) -> Any:
    if len(text) > _LARGEST:
        raise NeumoError(f"{where}: pasa de {_LARGEST} letras, y un archivo de parámetros no es tan largo. ¿Es otro?")
    try:
        return yaml.load(text, Loader=loader)
    except NeumoError as error:
        raise NeumoError(f"{where}: {error}") from None
    except (RecursionError, ValueError):
        raise NeumoError(f"{where}: hay demasiados niveles, o un número demasiado largo. Quítelos.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", línea {mark.line + 1}" if mark else ""
        raise NeumoError(f"{where}{place}: no es YAML válido. Revise sangrías, comillas y dos puntos.") from None


def parse_overrides(text: str) -> dict[str, Any]:
    """Lee `SET`: pares `clave=valor` separados como en una terminal, con los valores en YAML.

    Raises
    ------
    NeumoError
        Si falta un `=` o unas comillas, una clave se repite o un espacio parte un valor en dos.

    Examples
    --------
    >>> parse_overrides("epochs=3 phantom.images=80 data_dir='mis placas #1'")
    {'epochs': 3, 'phantom.images': 80, 'data_dir': 'mis placas #1'}
    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise NeumoError(f"SET={text!r}: hay comillas sin cerrar.") from None
    overrides: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        halved = any(value.count(left) > value.count(right) for left, right in ("[]", "{}"))
        if halved or not equals or not key:
            raise NeumoError(
                f"SET: «{word}» no es un cambio entero, clave=valor. Un espacio separa dos cambios: el valor que los lleva va "
                "entre comillas simples, SET=\"data_dir='mis placas' final_seeds='[0, 1]'\"."
            )
        if key in overrides:
            raise NeumoError(f"SET: «{key}» está dos veces. Deje una sola.")
        loader = _NameLoader if _NAMES.match(key) else _Loader
        # En YAML, lo que sigue a « #» es un comentario; en una orden nadie los escribe.
        overrides[key] = value if re.search(r"(^|\s)#", value) else _parse_yaml(value, f"SET, {key}", loader=loader)
    return overrides


_NO_TEXT = re.compile("[\ud800-\udfff]|" + re.escape(r"\u0000"))

_MESSAGES = {
    "greater_than_equal": "debe ser mayor o igual que {ge}",
    "greater_than": "debe ser mayor que {gt}",
    "less_than_equal": "debe ser menor o igual que {le}",
    "less_than": "debe ser menor que {lt}",
    "literal_error": "debe ser uno de: {expected}",
    "int_type": "debe ser un número entero",
    "float_type": "debe ser un número",
    "finite_number": "debe ser un número finito",
    "bool_type": "debe ser true o false",
    "string_type": "debe ser un texto",
    "string_pattern_mismatch": "debe ser un nombre en minúsculas, sin espacios ni tildes",
    "list_type": "debe ser una lista",
    "dict_type": "debe ser un grupo de claves y valores",
    "model_type": "debe ser un grupo de claves y valores",
    "too_short": "debe tener elementos, al menos {min_length}",
    "too_long": "debe tener elementos, como mucho {max_length}",
}


def _dotted(tree: Any, prefix: str = "") -> Iterator[str]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield prefix + key
        yield from _dotted(value, f"{prefix}{key}.")


def _explain(error: dict, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]" and "function" not in str(part))
    if error["type"] == "extra_forbidden":
        known = list(_dotted(model().model_dump()))
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
        there = (
            "`make params` escribe la lista de los que hay." if model is Params else f"Los que hay: {', '.join(known)}."
        )
        hint = f"¿Quiso decir «{close[0]}»?" if close else there
        return f"«{key}» no es un parámetro. {hint}"
    if error["type"] == "value_error":
        return (f"«{key}»: " if key else "") + f"{error['ctx']['error']}."
    context = {name: str(value).replace(" or ", " o ") for name, value in error.get("ctx", {}).items()}
    message = _MESSAGES.get(error["type"], f"no vale ({error['type']})").format_map(context)
    shown = json.dumps(error["input"], ensure_ascii=False, default=str)[:80]
    return f"«{key}» vale {shown} y {message}."


def validate(values: dict[str, Any], *, where: str = "parámetros") -> Params:
    """Convierte un diccionario en `Params`.

    Parameters
    ----------
    values : dict
        Parámetros por su nombre; los que falten toman su valor por omisión.
    where : str
        De dónde vienen, para el mensaje de error.

    Raises
    ------
    NeumoError
        Si hay claves desconocidas, tipos equivocados o valores imposibles: nombra cada clave, su valor y lo permitido.
    """
    return checked(values, Params, where=where)


def checked(values: Any, model: type[_Group], *, where: str) -> _Group:
    """Convierte un diccionario en el grupo de parámetros `model`, o dice en español qué no vale, como `validate`."""
    if _NO_TEXT.search(json.dumps(values, ensure_ascii=False, default=str)):
        raise NeumoError(f"{where}: hay un carácter nulo o partido, que no es texto y no cabe en un archivo. Quítelo.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_explain(dict(item), model) for item in error.errors()]
        raise NeumoError(f"{where}: " + " ".join(problems)) from None


def load(path: str | Path | None = None, overrides: dict[str, Any] | None = None) -> Params:
    """Lee un archivo de parámetros y le aplica los cambios de `SET`.

    Parameters
    ----------
    path : str, Path or None
        Archivo YAML con las diferencias respecto de los valores por omisión o del archivo que diga en `extends`.
    overrides : dict, optional
        Cambios con claves punteadas (`phantom.images`, `attempts.intento_1.epochs`).

    Returns
    -------
    Params
        Con `data_dir` absoluto: las rutas relativas cuentan desde donde se dio la orden.

    Raises
    ------
    NeumoError
        Si el archivo no existe, no es YAML o algún valor no vale.
    """
    layers = [dict(layer) for layer in _layers(Path(path))] if path is not None else []
    for layer in layers:
        layer.pop("sweep", None)  # es de la orden `sweep`; el mismo archivo, con `report`, hace su base
    for dotted, change in (overrides or {}).items():
        layers.append(functools.reduce(lambda inside, key: {key: inside}, reversed(dotted.split(".")), change))
    where = " + ".join([str(path)] * (path is not None) + ["SET"] * bool(overrides)) or "parámetros"
    params = validate(functools.reduce(lambda base, layer: merge(layer, base=base), layers, {}), where=where)
    absolute = {"external": [one.model_copy(update={"data_dir": _absolute(one.data_dir)}) for one in params.external]}
    return params.model_copy(update=absolute | ({"data_dir": _absolute(params.data_dir)} if params.data_dir else {}))


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def read_sweep(path: str | Path) -> Any:
    """Lee el grupo `sweep` de un archivo de parámetros, o del que diga en `extends`; `None` si no lo hay."""
    found = [layer["sweep"] for layer in _layers(Path(path)) if "sweep" in layer]
    return found[-1] if found else None


def _layers(path: Path, *, above: tuple[Path, ...] = ()) -> list[dict[str, Any]]:
    """Lee un archivo de parámetros y, antes, el que diga en `extends`: cada uno va sobre el anterior."""
    chain = (*above, path.resolve())
    if path.resolve() in above:
        raise NeumoError(f"{path}: extends da vueltas ({' → '.join(p.name for p in chain)}). Quite uno.")
    try:
        with path.open(encoding="utf-8-sig") as file:
            values = _parse_yaml(file.read(_LARGEST + 1), str(path)) or {}
    except UnicodeDecodeError:
        raise NeumoError(f"{path}: no está en UTF-8. Guárdelo como UTF-8 en su editor de texto.") from None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        asked = f", que pide {above[-1].name} en extends" if above else ""
        raise NeumoError(
            f"No existe el archivo de parámetros «{path}»{asked}. Los del proyecto están en params/."
        ) from None
    if not isinstance(values, dict):
        raise NeumoError(f"{path}: se esperaban líneas «clave: valor» y hay {type(values).__name__}.")
    other = values.pop("extends", None)
    if not isinstance(other, str | None):
        raise NeumoError(f"{path}: extends debe ser el nombre de otro archivo de parámetros, y vale {other!r}.")
    return [*(_layers(path.parent / other, above=chain) if other else []), values]


def merge(values: dict[str, Any], *, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """Pone unos cambios sobre los valores de `base` o, sin ella, sobre los de por omisión.

    Un grupo dado a medias (`improved: {epochs: 3}`) conserva lo demás. De `attempts`, uno vacío (`intento_4: null`) se
    quita, y una lista o un número (`attempts.0.epochs`), como se escribían antes, pasan a su nombre.
    """
    base = base or Params().model_dump(mode="json")
    attempts = values.get("attempts")
    if isinstance(attempts, list):
        base, values = base | {"attempts": {}}, values | {"attempts": _by_name(attempts)}
    elif isinstance(attempts, dict):
        places = dict(zip(map(str, range(len(base["attempts"]))), base["attempts"], strict=True))
        values = values | {"attempts": {places.get(key, key): one for key, one in attempts.items()}}
    merged = _over(base, values)
    if isinstance(merged["attempts"], dict):
        merged["attempts"] = {key: one for key, one in merged["attempts"].items() if one is not None}
    return merged


def _by_name(attempts: list) -> dict[str, Any]:
    example = "attempts: {intento_1: {epochs: 12}}"
    print(f"attempts es una lista: se lee, pero ahora se escribe por nombres ({example}).", file=sys.stderr)
    named = {one["name"]: one for one in attempts if isinstance(one, dict) and "name" in one}
    if len(named) < len(attempts):
        raise NeumoError(f"En la lista attempts hay intentos sin nombre o con el mismo. Escriba {example}.")
    whole = Experiment().model_dump(mode="json")  # en una lista cada uno lo decía todo
    return {name: whole | {key: one[key] for key in one if key != "name"} for name, one in named.items()}


def _over(base: dict, changes: dict) -> dict:
    groups = {key for key, new in changes.items() if isinstance(new, dict) and isinstance(base.get(key), dict)}
    return base | changes | {key: _over(base[key], changes[key]) for key in groups}
