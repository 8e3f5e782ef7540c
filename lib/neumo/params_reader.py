"""Lee los archivos de parámetros, `SET` y las celdas, y dice en español qué no vale."""

import difflib
import json
import shlex
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from neumo.errors import NeumoError
from neumo.params import Params


class _UniqueKeyLoader(yaml.SafeLoader):
    """`SafeLoader` que no deja pasar claves repetidas."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key) for key, _ in node.value]
        repeated = {str(key) for key in keys if keys.count(key) > 1}
        if repeated:
            raise NeumoError(f"clave repetida: {', '.join(sorted(repeated))}")
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except NeumoError as error:
        raise NeumoError(f"{where}: {error}. Deje una sola.") from None
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = f", línea {line + 1}" if line is not None else ""
        raise NeumoError(
            f"{where}{place}: no es YAML válido. Revise sangrías, comillas y dos puntos."
        ) from None


def parse_overrides(text: str) -> dict[str, Any]:
    """Lee `SET`: pares `clave=valor` separados como en una terminal, con los valores en YAML.

    Examples
    --------
    >>> parse_overrides("epochs=3 phantom.images=80 data_dir='mis placas'")
    {'epochs': 3, 'phantom.images': 80, 'data_dir': 'mis placas'}
    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise NeumoError(f"SET={text!r}: hay comillas sin cerrar.") from None
    overrides = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise NeumoError(f'SET: «{word}» no tiene la forma clave=valor, por ejemplo SET="seed=1".')
        overrides[key] = _parse_yaml(value, f"SET, {key}")
    return overrides


def _assign(tree: Any, dotted: str, value: Any) -> None:
    *parents, last = [int(part) if part.isdigit() else part for part in dotted.split(".")]
    try:
        for part in parents:
            tree = tree[part] if isinstance(tree, list) else tree.setdefault(part, {})
        tree[last] = value
    except (IndexError, KeyError, TypeError, AttributeError):
        raise NeumoError(f"SET: «{dotted}» no señala ningún parámetro. Vea `make params`.") from None


_MESSAGES = {
    "greater_than_equal": "debe ser mayor o igual que {ge}",
    "greater_than": "debe ser mayor que {gt}",
    "less_than_equal": "debe ser menor o igual que {le}",
    "less_than": "debe ser menor que {lt}",
    "literal_error": "debe ser uno de: {expected}",
    "int_parsing": "debe ser un número entero",
    "int_from_float": "debe ser un número entero",
    "int_type": "debe ser un número entero",
    "float_parsing": "debe ser un número",
    "float_type": "debe ser un número",
    "finite_number": "debe ser un número finito",
    "bool_parsing": "debe ser true o false",
    "bool_type": "debe ser true o false",
    "string_type": "debe ser un texto",
    "string_pattern_mismatch": "debe cumplir el patrón {pattern}",
    "list_type": "debe ser una lista",
    "dict_type": "debe ser un grupo de claves y valores",
    "model_type": "debe ser un grupo de claves y valores",
    "too_short": "debe tener al menos {min_length} elementos",
    "too_long": "debe tener como mucho {max_length} elementos",
}


def _known_names(location: tuple) -> list[str]:
    model: Any = Params
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)


def _explain(error: dict) -> str:
    key = ".".join(str(part) for part in error["loc"] if not str(part).startswith("function"))
    value = error.get("input")
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(error["loc"][-1]), _known_names(error["loc"]), n=1)
        hint = f" ¿Quiso decir «{close[0]}»?" if close else " `make params` escribe la lista de los que hay."
        return f"«{key}» no es un parámetro.{hint}"
    if error["type"] == "value_error":
        return (f"«{key}»: " if key else "") + f"{error['ctx']['error']}."
    context = {k: str(v).replace(" or ", " o ") for k, v in error.get("ctx", {}).items()}
    message = _MESSAGES.get(error["type"], "no vale ({type})").format_map({"type": error["type"], **context})
    return f"«{key}» vale {shown[:80]} y {message}."


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
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = [_explain(dict(item)) for item in error.errors()]
        raise NeumoError(f"{where}: " + " ".join(problems)) from None


def load(path: str | Path | None = None, overrides: dict[str, Any] | None = None) -> Params:
    """Lee un archivo de parámetros y le aplica los cambios de `SET`.

    Parameters
    ----------
    path : str, Path or None
        Archivo YAML con las diferencias respecto de los valores por omisión.
    overrides : dict, optional
        Cambios con claves punteadas (`phantom.images`, `attempts.0.epochs`).

    Returns
    -------
    Params
        Con `data_dir` absoluto: las rutas relativas cuentan desde donde se dio la orden.

    Raises
    ------
    NeumoError
        Si el archivo no existe, no es YAML o algún valor no vale.
    """
    values: dict[str, Any] = {}
    if path is not None:
        path = Path(path)
        if not path.is_file():
            raise NeumoError(
                f"No existe el archivo de parámetros «{path}». Los del proyecto están en params/."
            )
        values = _parse_yaml(path.read_text(encoding="utf-8"), str(path)) or {}
        if not isinstance(values, dict):
            raise NeumoError(f"{path}: se esperaban líneas «clave: valor» y hay {type(values).__name__}.")
    for key, value in (overrides or {}).items():
        base = Params.model_construct().model_dump() if key.partition(".")[2] else {}
        top = key.split(".")[0]
        if top not in values and isinstance(base.get(top), list):
            values[top] = base[top]
        _assign(values, key, value)
    where = " + ".join([str(path)] * (path is not None) + ["SET"] * bool(overrides)) or "parámetros"
    params = validate(merge(values), where=where)
    if params.data_dir:
        params = params.model_copy(update={"data_dir": str(Path(params.data_dir).expanduser().absolute())})
    return params


def merge(values: dict[str, Any], *, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """Completa los grupos dados a medias (`improved: {epochs: 3}`) con los de `base` o, sin ella, con los de por omisión."""
    defaults = Params.model_construct().model_dump() | (base or {})
    given = {
        key: _deep_update(defaults[key], value)
        if isinstance(value, dict) and isinstance(defaults.get(key), dict)
        else value
        for key, value in values.items()
    }
    return {**(base or {}), **given}


def _deep_update(base: dict, changes: dict) -> dict:
    nested = {
        key: _deep_update(base[key], value)
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **changes, **nested}
