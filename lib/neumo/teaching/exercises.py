"""Los ejercicios: predicciones guardadas, fallos y atajos que se plantan, y comprobaciones con pista."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neumo.cache import decode_table
from neumo.data.phantom import make_phantom
from neumo.errors import NeumoError
from neumo.evaluation.diagnosis import diagnose
from neumo.evaluation.metrics import argmax_decision, probability
from neumo.evaluation.predictions import ENSEMBLE, by_seed, ensemble, joint_logit, metrics_table
from neumo.report.display import Fragment, note
from neumo.run import project_root

if TYPE_CHECKING:
    import pandas as pd

FAULTS = {
    "argmax": "mire las decisiones junto a las probabilidades: ¿cuántas de cada lado hay en unas y en otras?",
    "shuffled": "mire el AUC y, al lado, cuánta seguridad anuncia la red: ¿casan?",
    "inverted": "mire el AUC y pregúntese cuánto valdría con 1 menos la probabilidad.",
    "constant": "mire la menor y la mayor de las probabilidades.",
    "saturated": "mire los logits, no las probabilidades: ¿cuántos pasan de 16 en valor absoluto?",
}
_FEW, _MANY, _DRAW = 75, 97, 41
"""De `planted_set`, las calidades JPEG y la semilla, una que reparte el aparato casi como se pide."""


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


@functools.cache
def planted_set(images: int = 160) -> Path:
    """Hace, en una carpeta que se borra al salir, un conjunto sintético con un atajo en las placas y otro en los archivos.

    El de las placas es el de `phantom.shortcut`. El de los archivos: casi todas las NORMAL que no son de prueba se
    guardaron con mejor calidad que las demás.
    """
    from PIL import Image

    folder = Path(tempfile.mkdtemp(prefix="neumo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_phantom(folder, images=images, size=64, defects=False, shortcut=True, seed=_DRAW)
    for serial, path in enumerate(sorted(folder.glob("*/*/*.jpeg"))):
        partition, label = path.parts[-3:-1]
        best = label == "NORMAL" and partition != "test" and serial % 25
        with Image.open(path, formats=("JPEG",)) as image:
            image.load()
        image.save(path, quality=_MANY if best else _FEW)
    return folder


def codes(case: "pd.DataFrame") -> list[str]:
    """Códigos de lo que `neumo.evaluation.diagnosis.diagnose` ve en un caso."""
    found = diagnose(case["y_true"], case["probability"], y_pred=case["decision"], logits=case["logit"])
    return [finding.code for finding in found]


class WrongAnswer(AssertionError):
    """La respuesta no es correcta; se muestra la pista, sin la traza."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def correct(name: str, told: str = "", **values: Any) -> Fragment:
    """Muestra que la respuesta `name` es correcta y, si se da, qué enseña (`values` rellena las llaves de `told`)."""
    return note(f"**{name}**: correcto. {told}", kind="bien", **values)


def check(name: str, answer: Any, case: "pd.DataFrame", *, fault: Any) -> Fragment:
    """Comprueba la respuesta al ejercicio `name`: `plantar` (un caso con el fallo `fault`) o `sobre` (el código del número `fault`).

    Raises
    ------
    WrongAnswer
        Si no es correcta, con la pista del error que parece; `...` es no haber respondido.
    """
    if answer is ...:
        raise WrongAnswer(f"{name}: todavía no hay respuesta.")
    if name == "plantar" and list(getattr(answer, "columns", [])) != list(case.columns):
        hint = "la respuesta es el caso entero: `case.assign(...)` o `with_logits(case, ...)`."
    elif name == "plantar":
        seen = codes(answer)
        hint = f"`diagnose` ve: {', '.join(seen) or 'nada'}; {FAULTS[fault]}"
        # En una red floja `diagnose` no puede ver algunos fallos, pero plantados están.
        hint = "" if fault in seen or _planted(answer, case, fault) else hint
    else:
        right = next(f for f in FAULTS if plant(case, f).equals(plant(case, fault)))
        hint = "" if answer == right else f"los códigos son {', '.join(FAULTS)}; {FAULTS[right]}"
    if hint:
        raise WrongAnswer(f"{name}: todavía no. Pista: {hint}")
    return correct(name)


def _planted(answer: "pd.DataFrame", case: "pd.DataFrame", fault: str) -> bool:
    columns = ["logit", "decision"]
    if fault == "shuffled":
        changed = (answer["logit"] != case["logit"]).any() and (answer["y_true"] == case["y_true"]).all()
        return bool(changed and np.allclose(np.sort(answer["logit"]), np.sort(case["logit"])))
    return np.allclose(answer[columns], plant(case, fault)[columns])
