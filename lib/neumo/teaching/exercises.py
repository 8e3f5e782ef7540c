"""Los ejercicios: predicciones guardadas, fallos que se plantan, comprobaciones con pista y las dos copias."""

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import decode_table
from neumo.errors import NeumoError
from neumo.evaluation.diagnosis import diagnose
from neumo.evaluation.intervals import intervals
from neumo.evaluation.metrics import argmax_decision, binary_metrics, confusion, probability
from neumo.evaluation.predictions import ENSEMBLE, by_seed, ensemble, joint_logit, metrics_table
from neumo.report.display import Fragment, note
from neumo.run import project_root

if TYPE_CHECKING:
    import pandas as pd

STUB = "Escriba aquí su respuesta."
FAULTS = {
    "argmax": "mire las decisiones junto a las probabilidades: ¿cuántas de cada lado hay en unas y en otras?",
    "shuffled": "mire el AUC y, al lado, cuánta seguridad anuncia la red: ¿casan?",
    "inverted": "mire el AUC y pregúntese cuánto valdría con 1 menos la probabilidad.",
    "constant": "mire la menor y la mayor de las probabilidades.",
    "saturated": "mire los logits, no las probabilidades: ¿cuántos pasan de 16 en valor absoluto?",
}
HINTS = {
    "todas NORMAL": "todas son NORMAL: `argmax` sobre una sola columna devuelve siempre la posición 0.",
    "al revés": "están al revés: la probabilidad es la de PNEUMONIA, y PNEUMONIA es la clase 1.",
    "etiquetas": "son las clases reales: las decisiones salen de comparar la probabilidad con el umbral.",
    "traspuesta": "está traspuesta: las filas son la clase real y las columnas, la predicha.",
    "PNEUMONIA primero": "empieza por PNEUMONIA: el orden, en filas y columnas, es NORMAL, PNEUMONIA.",
    "sensibilidad": "esa es la sensibilidad, que divide entre las PNEUMONIA reales.",
    "especificidad": "esa es la especificidad, que divide entre las NORMAL reales.",
    "precisión": "esa es la precisión, que divide entre las imágenes llamadas PNEUMONIA.",
    "exactitud": "esa es la exactitud, que divide entre todas las imágenes.",
    "promedio": "ese es el promedio corriente; F1 es la media **armónica** de precisión y sensibilidad.",
    "F1 de NORMAL": "ese es el F1 de NORMAL, y se pide el de PNEUMONIA.",
    "F1": "ese es el F1, y se pide otra métrica.",
    "al revés, intervalo": "los extremos están cambiados: primero el menor.",
}


def open_case(run_dir: str | Path = "build/demo", *, model: str | None = None) -> "pd.DataFrame":
    """Lee las predicciones de validación de `model` o, si no se dice, del que mejor decide: una fila por imagen."""
    path = project_root() / run_dir / "predictions_final.csv"
    if not path.is_file():
        raise NeumoError(
            f"En «{Path(run_dir).name}» no hay predicciones (falta {path.name}): haga antes `make report`, o ponga en "
            "run_dir la carpeta de una ejecución terminada, por ejemplo build/demo."
        )
    table = decode_table(path.read_bytes())
    if model is None:
        metrics = metrics_table(ensemble(table))
        best = metrics["balanced_accuracy"].fillna(-1).idxmax()  # una red divergida no tiene
        model = metrics.loc[best, "model"].removesuffix(ENSEMBLE)
    images, logits = by_seed(table, model)
    return with_logits(images[["path", "group", "y_true"]], joint_logit(logits))


def with_logits(case: "pd.DataFrame", logit: Any) -> "pd.DataFrame":
    """Cambia los logits de un caso y, con ellos, sus probabilidades y sus decisiones (umbral 0.5)."""
    prob = probability(logit)
    return case.assign(logit=logit, probability=prob, decision=(prob >= 0.5).astype(int))


def plant(case: "pd.DataFrame", fault: str | int) -> "pd.DataFrame":
    """Planta un fallo de `FAULTS` por su nombre, o por el número de un sobre que no dice cuál."""
    fault = list(FAULTS)[np.random.default_rng(fault).integers(5)] if isinstance(fault, int) else fault
    z = case["logit"].to_numpy()
    if fault == "argmax":
        return case.assign(decision=argmax_decision(case["probability"]))
    shuffled = np.random.default_rng(0).permutation(z)
    planted = {"shuffled": shuffled, "inverted": -z, "constant": 3 + 1e-6 * z, "saturated": 1000 * z}
    if fault not in planted:
        raise NeumoError(f"No hay fallo «{fault}»: los que hay son {', '.join(FAULTS)}.")
    return with_logits(case, planted[fault])


def codes(case: "pd.DataFrame") -> list[str]:
    """Códigos de lo que `neumo.evaluation.diagnosis.diagnose` ve en un caso."""
    found = diagnose(case["y_true"], case["probability"], y_pred=case["decision"], logits=case["logit"])
    return [finding.code for finding in found]


def check(name: str, answer: Any, case: "pd.DataFrame", *, fault: Any = None) -> Fragment:
    """Comprueba la respuesta al ejercicio `name` y, si no es correcta, da la pista del error que parece.

    `name` es `decisiones`, `matriz`, `sensibilidad`, `especificidad`, `precisión`, `F1`, `intervalo` (de la sensibilidad),
    `plantar` (un caso con el fallo `fault`) o `sobre` (el código del fallo número `fault`). `...` es no haber respondido.
    """
    if answer is ...:
        return note(f"**{name}**: todavía no hay respuesta.")
    if name == "plantar" and list(getattr(answer, "columns", [])) != list(case.columns):
        hint = "la respuesta es el caso entero: `case.assign(...)` o `with_logits(case, ...)`."
    elif name == "plantar":
        seen = codes(answer)
        hint = f"`diagnose` ve: {', '.join(seen) or 'nada'}; {FAULTS[fault]}"
        # En una red floja `diagnose` no puede ver algunos fallos, pero plantados están.
        hint = "" if fault in seen or _planted(answer, case, fault) else hint
    elif name == "sobre":
        right = next(f for f in FAULTS if plant(case, f).equals(plant(case, fault)))
        hint = "" if answer == right else f"los códigos son {', '.join(FAULTS)}; {FAULTS[right]}"
    else:
        hint = _hint(name, answer, case)
    verdict = f"todavía no. Pista: {hint}" if hint else "correcto."
    return note(f"**{name}**: {verdict}", kind="aviso" if hint else "bien")


def _planted(answer: "pd.DataFrame", case: "pd.DataFrame", fault: str) -> bool:
    columns = ["logit", "decision"]
    if fault == "shuffled":
        changed = (answer["logit"] != case["logit"]).any() and (answer["y_true"] == case["y_true"]).all()
        return bool(changed and np.allclose(np.sort(answer["logit"]), np.sort(case["logit"])))
    return np.allclose(answer[columns], plant(case, fault)[columns])


def _hint(name: str, answer: Any, case: "pd.DataFrame") -> str:
    answers = _answers(case)
    right = np.asarray(answers[name], dtype=float)
    try:
        answer = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        return "se esperaban números; relea el enunciado."
    if answer.shape != right.shape:
        return f"se esperaba algo de forma {right.shape} y la respuesta tiene forma {answer.shape}."
    within = 0.2 * (right[1] - right[0]) if name == "intervalo" else 1e-3
    same = [key for key, value in answers.items() if np.shape(value) == right.shape]
    near = [key for key in same if np.allclose(answer, answers[key], rtol=0, atol=within, equal_nan=True)]
    if near:
        return "" if name in near else HINTS[near[0]]
    if np.allclose(answer, 100 * right, rtol=1e-2):
        return "está en tanto por ciento, y se pide una proporción entre 0 y 1."
    if name == "intervalo":
        narrow = answer[1] - answer[0] < right[1] - right[0]
        return (
            f"es {'estrecho' if narrow else 'ancho'}: sortee **pacientes enteros** y tome los percentiles 2.5 y 97.5."
        )
    return "escriba antes las cuatro casillas (TN, FP, FN, TP) y rehaga la cuenta con ellas."


def _answers(case: "pd.DataFrame") -> dict[str, Any]:
    """Respuestas correctas y, con el nombre de su pista, lo que dan los errores frecuentes."""
    y, pred, prob = (case[name].to_numpy() for name in ("y_true", "decision", "probability"))
    (tn, fp), (fn, tp) = confusion(y, pred).to_numpy()
    measured = binary_metrics(y, prob, y_pred=pred)
    recall, precision = measured["sensitivity"], measured["precision"]
    found = intervals(y, prob, groups=case["group"], y_pred=pred, metrics=["sensitivity"], resamples=2000)
    # Sin variación entre remuestreos, quien lo haga a mano obtiene un intervalo de anchura cero.
    low, high = found.loc[0, ["low", "high"] if found["method"][0] == "bootstrap" else ["value", "value"]]
    return {
        **{"decisiones": pred, "todas NORMAL": 0 * pred, "al revés": 1 - pred, "etiquetas": y},
        **{"matriz": [[tn, fp], [fn, tp]], "traspuesta": [[tn, fn], [fp, tp]]},
        **{"PNEUMONIA primero": [[tp, fn], [fp, tn]], "sensibilidad": recall, "precisión": precision},
        **{"especificidad": measured["specificity"], "exactitud": measured["accuracy"], "F1": measured["f1"]},
        **{"promedio": (precision + recall) / 2, "F1 de NORMAL": 2 * tn / max(1, 2 * tn + fp + fn)},
        **{"intervalo": (low, high), "al revés, intervalo": (high, low)},
    }


def copies(source: Path, target: Path) -> list[Path]:
    """Escribe de cada cuaderno de `source` la copia `docente` y la `alumno`, esta sin las celdas `solution`."""
    import nbformat

    written = []
    for path in sorted(source.glob("*.ipynb")):
        for reader in ("docente", "alumno"):
            notebook = nbformat.read(path, as_version=4)
            for cell in notebook.cells:
                if reader == "alumno" and "solution" in cell.metadata.get("tags", []):
                    cell.source = _stub(cell.source) if cell.cell_type == "code" else f"*{STUB}*"
            written.append(target / reader / path.name)
            written[-1].parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, written[-1])
    return written


def _stub(source: str) -> str:
    """Deja de una solución el nombre al que da su respuesta: el de la última asignación."""
    assigned = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return f"# {STUB}\n{ast.unparse(assigned[-1].targets[0])} = ..."
