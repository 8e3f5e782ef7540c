"""La comparación de un barrido: `points.csv` y `comparacion.html`, un cuaderno compuesto como un capítulo."""

import json
from pathlib import Path

from neumo.cache import encode_table, write_atomically
from neumo.modules import digest
from neumo.params_reader import validate
from neumo.report.execute import execute_chapter
from neumo.report.render import render
from neumo.run import Run, versions
from neumo.sweep.tables import load

NOTEBOOK = Path(__file__).with_name("comparacion.ipynb")


def compare(folder: Path) -> Path:
    """Escribe `points.csv` y `comparacion.html` con los puntos terminados de un barrido; devuelve la página.

    Parameters
    ----------
    folder : Path
        `build/<barrido>`.

    Raises
    ------
    NeumoError
        Si no hay ninguno, o el cuaderno falla.
    """
    results = load(folder)
    write_atomically(folder / "points.csv", encode_table(results.points))
    run = Run(folder=folder, params=validate(json.loads((folder / "params.json").read_bytes())))
    executed = folder / "notebooks" / f"01_{NOTEBOOK.name}"
    execute_chapter(NOTEBOOK, executed, run=run, values={})
    source = run.load("source")
    identity = {"barrido": folder.name, "puntos": digest(sorted(results.points["point"].unique())), **versions()}
    meta = {
        "title": "Comparación de un barrido",
        "run": folder.name,
        "source": source["description"],
        "synthetic": source["synthetic"],
        "provenance": identity,
        "files": {"points.csv": encode_table(results.points)},
    }
    return render([executed], folder / "comparacion.html", meta=meta)
