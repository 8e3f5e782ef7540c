"""Escribe desde `Params` lo que lo repite: `params/demo.yaml`, las celdas `parameters` y la tabla de la guía."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from neumo.cache import write_atomically
from neumo.params import Augmentation, Experiment, Params
from neumo.params_reader import load

_WIDTH = 110  # el del formateador de código (pyproject.toml)


def literal(value: Any, *, room: int = _WIDTH, indent: int = 0) -> str:
    """Escribe un valor de JSON como literal de Python, en varias líneas si no cabe en `room` columnas.

    Examples
    --------
    >>> literal({"a": [1, 2.0, None]})
    '{"a": [1, 2.0, None]}'
    """
    flat = _flat(value)
    if indent + len(flat) <= room or not isinstance(value, (list, dict)) or not value:
        return flat
    pad = " " * (indent + 4)
    if isinstance(value, list):
        items = [literal(item, room=room - 1, indent=indent + 4) for item in value]
        return "[\n" + "".join(f"{pad}{item},\n" for item in items) + " " * indent + "]"
    items = [f'"{key}": {_nested(item, len(key) + 4, room, indent)}' for key, item in value.items()]
    return "{\n" + "".join(f"{pad}{item},\n" for item in items) + " " * indent + "}"


def _nested(value: Any, used: int, room: int, indent: int) -> str:
    return literal(value, room=room - used - 1, indent=indent + 4)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {_flat(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _brief(value: Any) -> Any:
    """Quita de un experimento lo que no dice nada nuevo: los valores que ya son los de su modelo."""
    if isinstance(value, (Experiment, Augmentation)):
        changed = value.model_dump(exclude_defaults=True, exclude={"name"})
        return {key: _brief(getattr(value, key)) for key in changed}
    if isinstance(value, BaseModel):
        return {key: _brief(item) for key, item in value}
    if isinstance(value, dict):
        return {key: _brief(item) for key, item in value.items()}
    return value


def _shown(value: Any, declared: Any) -> Any:
    """Deja de un grupo las claves que la celda declara: `improved = {"epochs": 3}` sigue enseñando solo esa."""
    values = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    if not isinstance(declared, dict) or not isinstance(values, dict):
        return values
    group = value if isinstance(value, dict) else {key: getattr(value, key) for key in values}
    return {key: _shown(group[key], inside) for key, inside in declared.items() if key in group}


def parameters_cell(declared: dict[str, Any], params: Params, *, run_dir: str) -> str:
    """Compone la celda `parameters` de un cuaderno: literales y un comentario por parámetro.

    Parameters
    ----------
    declared : dict
        Los parámetros que la celda declara; de un grupo, las claves que enseña.
    """
    lines = [f'run_dir = "{run_dir}"  # carpeta de la ejecución']
    for name, inside in declared.items():
        comment = f"  # {Params.model_fields[name].description}"  # ruff lo cuenta en el ancho de la línea
        shown = _shown(getattr(params, name), inside)
        text = literal(shown, room=_WIDTH - len(f"{name} = {comment}"))
        first, _, rest = f"{name} = {text}".partition("\n")
        lines += [first + comment] + ([rest] if rest else [])
    return "\n".join(lines)


def sync_notebook(path: Path, params: Params) -> bool:
    """Pone al día la celda `parameters` de un cuaderno con los nombres que ya declara; dice si cambió."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            text = parameters_cell(
                declared_parameters("".join(cell["source"])), params, run_dir="build/interactivo"
            )
            cell["source"] = text.splitlines(keepends=True)
    return write_atomically(path, (json.dumps(notebook, ensure_ascii=False, indent=1) + "\n").encode())


def declared_parameters(cell: str) -> dict[str, Any]:
    """Lee de una celda `parameters` los parámetros que declara, con su valor."""
    body = [node for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
    pairs = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in body
        if isinstance(node.targets[0], ast.Name)
    }
    return {name: value for name, value in pairs.items() if name in Params.model_fields}


def _yaml_lines(model: BaseModel, indent: int = 0) -> Iterator[str]:
    pad = "  " * indent
    shown = _brief(model)
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if name not in shown:
            continue
        if isinstance(value, BaseModel):
            yield f"{pad}# {info.description}"
            yield f"{pad}{name}:"
            yield from _yaml_lines(value, indent + 1)
        elif isinstance(value, dict):
            yield f"{pad}{name}:  # {info.description}"
            yield from (f"{pad}  {key}: {_flow(_brief(item))}" for key, item in value.items())
        else:
            yield f"{pad}{name}: {_flow(value)}  # {info.description}"


def _flow(value: Any) -> str:
    """Escribe un valor en una línea de YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def demo_yaml() -> str:
    """Compone `params/demo.yaml`: todos los parámetros, con su valor por omisión y su ayuda."""
    header = [
        "# Todos los parámetros, con su valor por omisión. Este archivo lo escribe `make params`: no lo edite;",
        "# copie a otro lo que quiera cambiar y use `make report PARAMS=params/otro.yaml`. De cada experimento se",
        "# muestra lo que se aparta de los valores de `Experiment`; todas sus claves están en docs/guia.md.",
    ]
    return "\n".join([*header, *_yaml_lines(Params())]) + "\n"


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        schema = model.model_json_schema()["properties"][name]
        annotation = info.annotation
        default = info.get_default(call_default_factory=True)
        if (
            isinstance(annotation, type)
            and issubclass(annotation, BaseModel)
            and annotation.__name__ != "Experiment"
        ):
            yield from _rows(annotation, f"{prefix}{name}.")
            continue
        bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
        # Los que admiten vacío llevan los límites dentro.
        limits = schema | next(iter(schema.get("anyOf", ())), {})
        allowed = " y ".join(f"{sign} {limits[key]}" for key, sign in bounds.items() if key in limits)
        allowed = allowed or ", ".join(f"`{option}`" for option in limits.get("enum", []))
        shown = (
            "—"
            if isinstance(default, (BaseModel, list, dict)) and prefix == ""
            else f"`{_flow(_brief(default))}`"
        )
        yield f"| `{prefix}{name}` | {info.description} | {shown} | {allowed} |"


def parameters_table() -> str:
    """Compone en Markdown la tabla de parámetros de la guía."""
    head = "| parámetro | qué es | por omisión | permitido |\n| --- | --- | --- | --- |\n"
    return "\n".join(
        [
            head + "\n".join(_rows(Params)),
            "\nCada experimento (`attempts`, `repaired`, `improved`) tiene estas claves:\n",
            head + "\n".join(_rows(Experiment)),
            '\nEl aumento de datos de cada experimento (`SET="attempts.intento_1.augmentation.rotation_range=5"`) tiene estas:\n',
            head + "\n".join(_rows(Augmentation)),
        ]
    )


def sync(root: Path) -> list[Path]:
    """Escribe `params/demo.yaml`, las celdas de los cuadernos y la tabla de la guía; devuelve lo que cambió."""
    changed = []
    demo = root / "params" / "demo.yaml"
    if write_atomically(demo, demo_yaml().encode()):
        changed.append(demo)
    defaults = load()
    changed += [p for p in sorted((root / "notebooks").glob("*.ipynb")) if sync_notebook(p, defaults)]
    guide = root / "docs" / "guia.md"
    start, end = "<!-- parámetros: los escribe `make params` -->", "<!-- fin de los parámetros -->"
    if guide.is_file() and start in (text := guide.read_text(encoding="utf-8")):
        before, rest = text.split(start)
        after = rest.split(end)[1]
        if write_atomically(guide, f"{before}{start}\n{parameters_table()}\n{end}{after}".encode()):
            changed.append(guide)
    return changed
