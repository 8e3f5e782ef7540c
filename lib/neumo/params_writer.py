"""Escribe lo que se repite: desde `Params`, `params/demo.yaml`, las celdas y la guía; desde los cuadernos, su tabla."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from neumo.cache import write_atomically
from neumo.params import Augmentation, Experiment, Params
from neumo.report.cells import assignments, heading

_HEADER = """\
# Todos los parámetros, con su valor por omisión. Este archivo lo escribe `make params`: no lo edite;
# copie a otro lo que quiera cambiar y use `make report PARAMS=params/otro.yaml`. De cada experimento se
# muestra lo que se aparta de los valores de `Experiment`; todas sus claves están en docs/guia.md."""
_WIDTH = 120  # el del formateador de código (pyproject.toml)
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def literal(value: Any, *, room: float = _WIDTH, indent: int = 0) -> str:
    """Escribe un valor de JSON como literal de Python, en varias líneas si no cabe en `room` columnas.

    Examples
    --------
    >>> literal({"a": [1, 2.0, None]})
    '{"a": [1, 2.0, None]}'
    """
    if not isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    pairs = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    items = [("" if key is None else f'"{key}": ', item) for key, item in pairs]
    flat = ", ".join(label + literal(item, room=float("inf")) for label, item in items)
    if not items or indent + len(flat) + 2 <= room:
        return opening + flat + closing
    pad = " " * (indent + 4)
    lines = [label + literal(item, room=room - len(label) - 1, indent=indent + 4) for label, item in items]
    return "\n".join([opening, *(f"{pad}{line}," for line in lines), " " * indent + closing])


def _chosen(value: Any, declared: Any) -> Any:
    """Deja de un grupo las claves que la celda declara: `improved = {"epochs": 3}` sigue enseñando solo esa."""
    if not isinstance(declared, dict) or not isinstance(value, dict):
        return value
    return {key: _chosen(value[key], inside) for key, inside in declared.items() if key in value}


def parameters_cell(declared: dict[str, Any], params: Params, *, run_dir: str) -> str:
    """Compone la celda `parameters` de un cuaderno: literales y un comentario por parámetro.

    Parameters
    ----------
    declared : dict
        Los parámetros que la celda declara; de un grupo, las claves que enseña.
    """
    values, lines = params.model_dump(mode="json"), [f'run_dir = "{run_dir}"  # carpeta de la ejecución']
    for name, inside in declared.items():
        comment = f"  # {Params.model_fields[name].description}"  # ruff lo cuenta en el ancho de la línea
        text = literal(_chosen(values[name], inside), room=_WIDTH - len(f"{name} = {comment}"))
        first, *rest = f"{name} = {text}".split("\n")
        lines += [first + comment, *rest]
    return "\n".join(lines)


def declared_parameters(cell: str) -> dict[str, Any]:
    """Lee de una celda `parameters` los parámetros que declara, con su valor."""
    found = assignments(cell, place="la celda de parámetros")
    return {name: value for name, (value, _) in found.items() if name in Params.model_fields}


def _notebook_text(path: Path, params: Params) -> str:
    """El cuaderno, con la celda `parameters` puesta al día con los nombres que ya declara."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            declared = declared_parameters("".join(cell["source"]))
            text = parameters_cell(declared, params, run_dir="build/interactivo")
            cell["source"] = text.splitlines(keepends=True)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def _flow(value: Any) -> str:
    """Escribe un valor en una línea de YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _yaml_lines(model: BaseModel, pad: str = "") -> Iterator[str]:
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(model, (Experiment, Augmentation)) and value == info.default:
            continue
        if isinstance(value, BaseModel):
            yield f"{pad}# {info.description}"
            yield f"{pad}{name}:"
            yield from _yaml_lines(value, pad + "  ")
        elif name == "attempts":
            yield f"{pad}{name}:  # {info.description}"
            yield from (f"{pad}  {key}: {_flow(one.model_dump(exclude_defaults=True))}" for key, one in value.items())
        else:
            yield f"{pad}{name}: {_flow(value)}  # {info.description}"


def demo_yaml() -> str:
    """Compone `params/demo.yaml`: todos los parámetros, con su valor por omisión y su ayuda."""
    return "\n".join([_HEADER, *_yaml_lines(Params())]) + "\n"


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, schema in model.model_json_schema()["properties"].items():
        info = model.model_fields[name]
        if isinstance(info.default, BaseModel) and model is Params:
            yield from _rows(type(info.default), f"{name}.")
        elif not info.exclude:
            limits = schema | schema.get("anyOf", [{}])[0]  # los que admiten vacío llevan los límites dentro
            allowed = " y ".join(f"{sign} {limits[key]}" for key, sign in _BOUNDS.items() if key in limits)
            allowed = allowed or ", ".join(f"`{option}`" for option in limits.get("enum", []))
            shown = "—" if isinstance(info.default, (BaseModel, dict)) else f"`{_flow(info.default)}`"
            yield f"| `{prefix}{name}` | {info.description} | {shown} | {allowed} |"


def parameters_table() -> str:
    """Compone en Markdown la tabla de parámetros de la guía."""
    parts: dict[type[BaseModel], str] = {
        Params: "",
        Experiment: "\nCada experimento (`attempts`, `repaired`, `improved`) tiene estas claves:\n\n",
        Augmentation: "\nEl aumento de datos de cada experimento "
        '(`SET="attempts.intento_1.augmentation.rotation_range=5"`) tiene estas:\n\n',
    }
    head = "| parámetro | qué es | por omisión | permitido |\n| --- | --- | --- | --- |\n"
    return "\n".join(title + head + "\n".join(_rows(model)) for model, title in parts.items())


def course_table(notebooks: Iterable[Path]) -> str:
    """Compone en Markdown la tabla de capítulos del recorrido con lo que cada cuaderno dice de sí."""
    rows = ["| capítulo | minutos | antes | al terminar se sabe |", "| --- | --- | --- | --- |"]
    for path in notebooks:
        said = heading("".join(json.loads(path.read_bytes())["cells"][0]["source"]))
        link = f"{path.name[:2]} [{said['title']}](../notebooks/{path.name})"
        rows.append(f"| {link} | {said['minutes']} | {', '.join(said['before']) or '–'} | {said['goal'].rstrip('.')} |")
    return "\n".join(rows)


def _between(page: str, name: str, text: str) -> str:
    """Cambia lo que hay en una página entre las marcas de `name`."""
    start, end = f"<!-- {name}: los escribe `make params` -->\n", f"\n<!-- fin de los {name} -->"
    return re.sub(f"(?s)(?<={start}).*?(?={end})", lambda _: text, page)


def sync(root: Path) -> list[Path]:
    """Escribe `params/demo.yaml`, las celdas de los cuadernos y las tablas de docs/; devuelve lo que cambió."""
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    guide, course = root / "docs" / "guia.md", root / "docs" / "recorrido.md"
    texts = {root / "params" / "demo.yaml": demo_yaml()}
    texts[guide] = _between(guide.read_text(encoding="utf-8"), "parámetros", parameters_table())
    texts[course] = _between(course.read_text(encoding="utf-8"), "capítulos", course_table(notebooks))
    texts |= {path: _notebook_text(path, Params()) for path in notebooks}
    return [path for path, text in texts.items() if write_atomically(path, text.encode())]
