"""Cuadernos pequeños, ya ejecutados, para probar la página sin entrenar nada."""

from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from neumo.report import display

HOSTILE = 'person1_<script>alert("x")</script>_&.jpeg'


def shown(fragment, kind="execute_result"):
    """Salida de celda como la dejaría Jupyter."""
    return new_output(kind, data=fragment._repr_mimebundle_(), **({"execution_count": 1} if "result" in kind else {}))


def code(source, *outputs, tags=(), status="completed"):
    """Celda de código con sus salidas y el sello de papermill."""
    metadata = {"tags": list(tags), "papermill": {"status": status, "duration": 0.1}}
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata=metadata)


def write(folder: Path, name: str, cells) -> Path:
    """Escribe un cuaderno y devuelve su ruta."""
    for position, cell in enumerate(cells):
        cell.id = f"celda-{position}"
    path = folder / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"papermill": {"input_path": "/home/alguien/x"}}), path)
    return path


def threshold_data(n: int = 300) -> dict:
    """Probabilidades de prueba verosímiles."""
    rng = np.random.default_rng(7)
    y = (rng.random(n) < 0.62).astype(int)
    logit = rng.normal(np.where(y == 1, 2.2, -1.6), 1.7)
    p = 1 / (1 + np.exp(-logit))
    p[:2] = 0.5, 0.9  # en el umbral mismo
    return {"y": y.tolist(), "p": p.tolist(), "threshold": 0.4137}


def curve():
    """Figura de líneas, pequeña: sale en SVG."""
    _, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    rate = np.geomspace(1e-6, 1, 80)
    ax.semilogx(rate, 0.7 - 0.4 / (1 + (3e-3 / rate) ** 1.4) + 60 * rate**4, color="#0072B2")
    ax.axvline(1e-3, color="#D55E00", linestyle="--")
    ax.set(xlabel="tasa de aprendizaje", ylabel="pérdida", ylim=(0, 1.2))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def radiographs():
    """Rejilla de imágenes con ruido: demasiado grande para SVG."""
    _, axes = plt.subplots(2, 4, figsize=(8, 4.2), layout="constrained")
    rng = np.random.default_rng(1)
    for position, ax in enumerate(axes.flat):
        ax.imshow(rng.random((224, 224)), cmap="gray")
        ax.set_axis_off()
        ax.set_title(f"radiografía {position}", fontsize=9)
    return axes


def counts() -> pd.DataFrame:
    """Tabla con índice, cifras y un nombre hostil."""
    return pd.DataFrame(
        {"NORMAL": [1072, 277, 234], "PNEUMONIA": [3100, 783, 390], "proporción": [0.743, 0.7387, 9.8e-5]},
        index=pd.Index(["entrenamiento", "validación", HOSTILE], name="partición"),
    )


def notebooks(folder: Path) -> list[Path]:
    """Tres cuadernos ejecutados: resumen, un capítulo de datos y el de evaluación."""
    summary = [
        new_markdown_cell("# Resumen\n\nLee: `metrics`  \nEscribe: nada"),
        code(
            "prose(…)",
            shown(
                display.prose(
                    "El modelo alcanza una exactitud de **{acc:.3f}** en prueba, con una sensibilidad de {sens:.3f} y una "
                    "especificidad de {spec:.3f}; la [](#fig-curva) muestra cómo se eligió su tasa de aprendizaje y la "
                    "[](#tab-recuento) con qué imágenes. Todo ello se discute en el [](#cap-11).",
                    acc=0.912,
                    sens=0.967,
                    spec=0.821,
                )
            ),
        ),
    ]
    wide = pd.DataFrame(np.arange(24.0).reshape(2, 12) / 7, columns=[f"columna {i}" for i in range(12)])
    data = [
        new_markdown_cell("# Recolección y organización\n\nLee: `params`  \nEscribe: `manifest`, `partition`"),
        code(
            "seed = 1  # semilla de todo azar\nimage_size = 64  # lado, en píxeles\nrun_dir = 'x'", tags=["parameters"]
        ),
        code("# Parameters\nimage_size = 96\ndata_dir = '/home/alguien/datos'", tags=["injected-parameters"]),
        new_markdown_cell(
            "## De dónde salen las imágenes\n\nEl conjunto lo describe Kermany [@kermany2018] y lo amplían otros "
            "[@yang2023; @kermany2018]. Está en <https://www.kaggle.com/datasets/x>.[^1] Cada época recorre el "
            "conjunto en cada lote, y el sobreajuste se vigila en validación.\n\n"
            "[^1]: Con licencia CC BY 4.0; la pérdida es $-\\log p$.\n\n"
            "La proporción es $p = \\frac{n_1}{n_0 + n_1}$ y la pérdida\n\n"
            "$$L = -\\frac{1}{n} \\sum_{i=1}^{n} y_i \\log p_i + (1 - y_i) \\log (1 - p_i)$$"
        ),
        code(
            "table(recuento, 'tab-recuento', caption='…')",
            new_output("stream", name="stderr", text="ruido de TensorFlow\n"),
            new_output("stream", name="stdout", text="1/3\r2/3\r3/3\n"),
            new_output("stream", name="stdout", text="listo\n"),
            shown(display.table(counts(), "tab-recuento", caption="Imágenes de cada partición y clase.")),
        ),
        new_markdown_cell(
            "### Una tabla ancha\n\nSe recorre a lo ancho; véase la [](#sec-de-donde-salen-las-imagenes)."
        ),
        code("table(ancha)", shown(display.table(wide, "tab-ancha", caption="Doce columnas.", index=False))),
        code(
            "muestra = manifest.groupby('label').sample(4, random_state=seed)\n"
            "figure(plots.grid(muestra), 'fig-muestra', caption='…', alt='…')  # una muestra de cada clase",
            shown(
                display.figure(
                    radiographs(), "fig-muestra", caption="Ocho imágenes al azar.", alt="Rejilla de ocho imágenes."
                )
            ),
        ),
        code("from neumo.run import open_run\n\nrun = open_run(globals())"),
        new_markdown_cell(
            "## Preguntas\n\n1. ¿Por qué se agrupa por paciente?\n\n<details>\n<summary>Respuesta</summary>\n\n"
            "Porque dos imágenes de la misma persona se parecen.\n\n</details>"
        ),
    ]
    evaluation = [
        new_markdown_cell("# Evaluación\n\nLee: `predictions_final`  \nEscribe: `predictions_test`, `metrics`"),
        new_markdown_cell("## La curva\n\nTexto antes de la figura, con `código` y **énfasis**."),
        code(
            "figure(curva)",
            shown(
                display.figure(
                    curve(),
                    "fig-curva",
                    caption="Pérdida frente a la tasa de aprendizaje; la línea de trazos es la **sugerencia** ($10^{-3}$).",
                    alt="La pérdida baja despacio hasta una tasa de 0.001 y se dispara por encima de 0.3.",
                )
            ),
        ),
        code("note(…)", shown(display.note("Se leyó la prueba {n} vez.", kind="aviso", n=1))),
        code("findings([])", shown(display.findings([]))),
        new_markdown_cell("## Preguntas\n\nOtra sección con el mismo título."),
    ]
    return [
        write(folder, "11_evaluacion", evaluation),
        write(folder, "02_recoleccion", data),
        write(folder, "00_resumen", summary),
    ]


META = {
    "run": "prueba",
    "source": "300 radiografías sintéticas, semilla 1.",
    "synthetic": True,
    "unknown_patients": 12,
    "provenance": {"semilla": 1, "Python": "3.11", "duración": "61 s", "archivo": HOSTILE},
}
