"""La casa: qué importa cada módulo, cuánto mide y qué se rehace cuando cambia."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from neumo.cache import determining_modules
from neumo.modules import closure, imported
from neumo.report.chapters import read_chapters

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "lib" / "neumo"
MODULES = sorted(
    path.relative_to(LIBRARY).with_suffix("").as_posix() for path in LIBRARY.rglob("*.py") if path.name != "__init__.py"
)
# De abajo arriba: cada piso solo importa de su altura o de más abajo.
FLOORS = [
    ["errors", "progress", "hardware", "modules", "words", "references", "params", "params_reader", "cache"],
    ["run"],
    ["data/"],
    ["evaluation/", "learning/"],
    ["figures/"],
    ["studies/"],
    ["report/"],
    ["notebook"],
    ["teaching/", "sweep/"],
    ["predict", "params_writer", "__main__"],
]
HEAVY = {"tensorflow", "keras"}
IMAGES = {"data/blocks", "data/dicom", "data/pixels", "data/store"}  # leer una imagen y guardarla decodificada


def _floor(module):
    for height, names in enumerate(FLOORS):
        if any(module == name or (name.endswith("/") and module.startswith(name)) for name in names):
            return height
    raise AssertionError(f"{module} no está en ningún piso: póngalo en FLOORS y en docs/arquitectura.md")


def _source(module):
    return (LIBRARY / f"{module}.py").read_text(encoding="utf-8")


def _code_lines(module):
    source, documented = _source(module), set()
    for node in ast.walk(ast.parse(source)):
        holder = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if holder and ast.get_docstring(node, clean=False) is not None:
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(1 for i, line in lines if line.strip() and line.strip()[0] != "#" and i not in documented)


@pytest.mark.parametrize("module", MODULES)
def test_arrows_only_go_down(module):
    above = {name for name in imported(_source(module)) if _floor(name) > _floor(module)}
    assert not above, f"{module} importa de un piso más alto: {sorted(above)}"


def test_there_is_no_circle():
    graph = {module: imported(_source(module)) for module in MODULES}

    def visit(module, path):
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        for other in graph[module] - done:
            visit(other, [*path, module])
        done.add(module)

    done: set[str] = set()
    for module in MODULES:
        visit(module, [])


def test_no_file_is_too_long_to_read_in_one_go_and_the_house_in_one_sitting():
    lengths = {module: _code_lines(module) for module in MODULES}
    assert not {module: n for module, n in lengths.items() if n > 300}
    assert sum(lengths.values()) < 9650
    apart = ("data/phantom", "evaluation/diagnosis", "params_reader", "params_writer")
    core = ("run", "cache", "params", "data/", "learning/", "evaluation/")
    assert sum(n for module, n in lengths.items() if module.startswith(core) and module not in apart) < 3850


@pytest.mark.parametrize("module", MODULES)
def test_only_learning_and_studies_import_tensorflow(module):
    names = {
        name.split(".")[0]
        for node in ast.walk(_runtime(ast.parse(_source(module))))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert module.startswith(("learning/", "studies/")) or not names & HEAVY


def _runtime(tree):
    """El mismo árbol sin lo que solo se importa para anotar tipos."""
    tree.body = [node for node in tree.body if "TYPE_CHECKING" not in ast.unparse(node).partition("\n")[0]]
    return tree


def test_importing_the_library_imports_nothing_heavy():
    """Segundos en cada orden y en cada núcleo: lo pesado se importa donde se usa."""
    light = [m for m in MODULES if m != "__main__" and not m.startswith("teaching/explorers")]
    code = f"import importlib, sys\nfor m in {[m.replace('/', '.') for m in light]}: importlib.import_module('neumo.' + m)\n"
    code += "print([m for m in ('tensorflow', 'keras', 'sklearn', 'seaborn', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", MODULES)
def test_pillow_only_tries_the_formats_that_are_named(module):
    """Sus demás descodificadores, y los fallos que tengan, no se ofrecen a un archivo cualquiera."""
    calls = [node for node in ast.walk(ast.parse(_source(module))) if isinstance(node, ast.Call)]
    opens = [call for call in calls if ast.unparse(call.func) == "Image.open"]
    assert all("formats" in {keyword.arg for keyword in call.keywords} for call in opens)


def test_package_faces_are_empty():
    faces = [path for path in LIBRARY.rglob("__init__.py") if path.parent != LIBRARY]
    assert [path for path in faces if path.read_text().strip()] == []


@pytest.mark.parametrize(
    ("module", "determining"),
    [
        ("data/store", IMAGES),
        ("data/verify", {"data/duplicates", "data/verify", *IMAGES}),
        ("learning/training", {*IMAGES, "learning/batches", "learning/networks", "learning/training"}),
        (
            "learning/lr_finder",
            {*IMAGES, "learning/batches", "learning/lr_finder", "learning/networks", "learning/training"},
        ),
        (
            "studies/experiments",
            {
                *IMAGES,
                *("learning/batches", "learning/inference", "learning/lr_finder"),
                *("learning/networks", "learning/training", "studies/experiments"),
            },
        ),
    ],
)
def test_what_enters_the_key_of_each_expensive_thing(module, determining):
    """Ni de menos (resultados rancios) ni de más (reentrenar por un cambio en una métrica)."""
    assert set(determining_modules(f"neumo.{module.replace('/', '.')}")) == determining


def test_a_package_import_counts_all_its_modules():
    whole = imported("from neumo import evaluation")
    assert whole == {module for module in MODULES if module.startswith("evaluation/")}
    assert imported("import neumo.data.store") == {"data/store"}
    assert imported("from neumo.data.store import load\nfrom neumo.figures import data as d") == {
        "data/store",
        "figures/data",
    }
    assert {"data/store", "words"} <= set(closure(["data/verify"]))


# --- Qué capítulos se rehacen cuando cambia un módulo ----------------------------------------------------

# Cambia el texto de cada módulo como se le pide y dice los capítulos cuyo resumen del código cambia.
_COMPARE = """
import json, sys
from neumo import modules
from neumo.report.chapters import read_chapters

chapters, change = read_chapters(), eval(sys.argv[1])

def digests():
    return {chapter.number: modules.modules_digest(chapter.modules) for chapter in chapters}

before, again = digests(), {}
for name in sys.argv[2:]:
    kept = modules._SOURCES[f"{name}.py"]
    modules._SOURCES[f"{name}.py"] = change(kept.decode()).encode()
    after = digests()
    modules._SOURCES[f"{name}.py"] = kept
    again[name] = [number for number in before if before[number] != after[number]]
print(json.dumps(again))
"""


def _runs_again(change):
    """Capítulos que se rehacen al cambiar cada módulo; `change` es una expresión: texto → texto."""
    done = subprocess.run(
        [sys.executable, "-c", _COMPARE, change, *MODULES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name: set(numbers) for name, numbers in json.loads(done.stdout).items()}


def _documented():
    text = (ROOT / "docs" / "arquitectura.md").read_text(encoding="utf-8")
    table = text.split("<!-- tabla: qué se rehace -->")[1].split("<!-- fin de la tabla -->")[0]
    rows = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("| `")]
    return {name.strip(" `"): _numbers(chapters.strip()) for name, chapters in rows}


def _numbers(text):
    every = {chapter.number for chapter in read_chapters()}
    return every if text == "todos" else set() if text == "ninguno" else set(text.split(", "))


def test_the_classroom_is_a_leaf():
    """Sin teaching/ el informe se hace igual: las celdas de mandos no se ejecutan ni cuentan."""
    used = {module for chapter in read_chapters() for module in chapter.modules}
    assert not [module for module in used if module.startswith("teaching/")]


def test_the_table_of_what_runs_again_is_true():
    """Se cambia una línea de código de cada módulo: vuelven a hacerse los capítulos que dice la tabla."""
    again = _runs_again("lambda code: code + '\\n_CHANGED = 1\\n'")
    every = {chapter.number for chapter in read_chapters()}
    told = {tuple(sorted(every)): "todos"}
    rows = [
        f"| `{name}` | {told.get(tuple(sorted(numbers)), ', '.join(sorted(numbers)) or 'ninguno')} |"
        for name, numbers in again.items()
    ]
    assert again == _documented(), "la tabla de docs/arquitectura.md debería decir:\n" + "\n".join(rows)


def test_documentation_and_comments_run_nothing_again():
    quotes = "chr(34) * 3"
    change = f"lambda code: '# Una nota.\\n' + code.replace({quotes}, {quotes} + 'Antes. ', 1)"
    assert not any(_runs_again(change).values())
