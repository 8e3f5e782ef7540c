"""Lee los archivos de parámetros, `SET` y las celdas, y dice en español qué no vale."""

import difflib
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from neumo.errors import NeumoError
from neumo.params import Params


class _Loader(yaml.SafeLoader):
    """`SafeLoader` que no deja pasar claves repetidas ni lee `010` como 8, `0x10` como 16 o `1:30` como 90."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key) for key, _ in node.value]
        repeated = {str(key) for key in keys if keys.count(key) > 1}
        if repeated:
            raise NeumoError(f"clave repetida: {', '.join(sorted(repeated))}")
        return super().construct_mapping(node, deep)


_INT = "tag:yaml.org,2002:int"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _INT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
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
        if not equals or not key:
            raise NeumoError(
                f'SET: «{word}» no tiene la forma clave=valor, por ejemplo SET="seed=1". Un valor con espacios va entre '
                "comillas simples: SET=\"data_dir='mis placas'\"."
            )
        if key in overrides:
            raise NeumoError(f"SET: «{key}» está dos veces. Deje una sola.")
        overrides[key] = _override(key, value)
    return overrides


def _override(key: str, value: str) -> Any:
    if any(value.count(left) > value.count(right) for left, right in ("[]", "{}")):
        raise NeumoError(
            f"SET: «{key}={value}» queda a medias, porque un espacio separa cambios: no los ponga en el valor o enciérrelo "
            f"entre comillas simples, por ejemplo SET=\"{key}='[0, 1]'\"."
        )
    # En YAML, lo que sigue a « #» es un comentario; en una orden nadie escribe comentarios.
    return value if re.search(r"(^|\s)#", value) else _parse_yaml(value, f"SET, {key}")


def _assign(tree: Any, dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    try:
        for part in parents:
            tree = tree[_place(tree, part)] if isinstance(tree, list) else tree.setdefault(part, {})
        tree[_place(tree, last)] = value
    except (IndexError, KeyError, TypeError, AttributeError, ValueError):
        raise NeumoError(f"SET: «{dotted}» no señala ningún parámetro. Vea `make params`.") from None


def _place(tree: Any, part: str) -> Any:
    """Posición en una lista (por número, o por el nombre del intento) o clave de un grupo."""
    if not isinstance(tree, list):
        return part
    return int(part) if part.isdigit() else [item["name"] for item in tree].index(part)


def _by_name(dotted: str, attempts: Any) -> str:
    """Traduce `attempts.0.epochs`, como se escribía antes, al nombre del intento."""
    first, *rest = dotted.split(".")
    if first != "attempts" or not rest or not rest[0].isdigit() or isinstance(attempts, list):
        return dotted
    names = list(Params().attempts | attempts)
    if int(rest[0]) >= len(names):
        raise NeumoError(f"SET: «{dotted}» no señala ningún intento. Los que hay: {', '.join(names)}.")
    return ".".join([first, names[int(rest[0])], *rest[1:]])


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
    values = _read_file(Path(path)) if path is not None else {}
    for key, value in (overrides or {}).items():
        _assign(values, _by_name(key, values.get("attempts", {})), value)
    where = " + ".join([str(path)] * (path is not None) + ["SET"] * bool(overrides)) or "parámetros"
    params = validate(merge(values), where=where)
    if params.data_dir:
        params = params.model_copy(update={"data_dir": str(Path(params.data_dir).expanduser().absolute())})
    return params


def _read_file(path: Path, *, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Lee un archivo de parámetros y, si dice `extends: otro.yaml`, lo pone sobre ese otro."""
    if not path.is_file():
        asked = f" (lo pide {extended_by[-1].name}, en extends)" if extended_by else ""
        raise NeumoError(
            f"No existe el archivo de parámetros «{path}»{asked}. Los del proyecto están en params/."
        )
    if path.resolve() in extended_by:
        raise NeumoError(
            f"{path}: extends da vueltas: {' → '.join(p.name for p in (*extended_by, path))}. Quite uno."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise NeumoError(f"{path}: no está en UTF-8. Guárdelo como UTF-8 en su editor de texto.") from None
    values = _parse_yaml(text, str(path)) or {}
    if not isinstance(values, dict):
        raise NeumoError(f"{path}: se esperaban líneas «clave: valor» y hay {type(values).__name__}.")
    if (base := values.pop("extends", None)) is None:
        return values
    if not isinstance(base, str):
        raise NeumoError(
            f"{path}: extends debe ser el nombre de otro archivo de parámetros, y vale {base!r}."
        )
    return _deep_update(_read_file(path.parent / base, extended_by=(*extended_by, path.resolve())), values)


def merge(values: dict[str, Any], *, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """Completa los grupos dados a medias (`improved: {epochs: 3}`) con los de `base` o, sin ella, con los de por omisión."""
    if isinstance(values.get("attempts"), list):
        print(
            "attempts es una lista: se lee, pero ahora cada intento va por su nombre y dice solo lo que cambia, por ejemplo "
            "attempts: {intento_1: {epochs: 12}}.",
            file=sys.stderr,
        )
    defaults = Params().model_dump(mode="json") | (base or {})
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
