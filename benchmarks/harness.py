"""Medir por parejas: lo de aquí y lo de cada par, por turnos y en un mismo proceso, y de ahí el cociente."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

Action = Callable[[], Any]


@dataclass(frozen=True)
class Result:
    """Una fila: un caso frente a un par, o un caso solo, con su límite.

    Attributes
    ----------
    group : str
        La parte de `bench` que la mide.
    ours, theirs : float
        Medianas, en `unit`.
    ratio, low, high : float
        Mediana, menor y mayor de los cocientes de las parejas: cuántas veces mejor es lo de aquí.
    target : float, optional
        Lo que se pide: al menos ese cociente o, sin par, como mucho ese valor.
    """

    group: str
    case: str
    peer: str
    unit: str
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    target: float | None = None
    repeats: int = 1

    @property
    def met(self) -> bool | None:
        """Si se alcanza lo que se pide; None si no se pide nada."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.ratio is not None else self.ours <= self.target


def seconds(action: Action) -> float:
    """Segundos que tarda una acción, o los que ella misma dice haber tardado."""
    started = time.perf_counter()
    told = action()
    return told if isinstance(told, float) else time.perf_counter() - started


class Bench:
    """Las mediciones de una orden: las hace, las escribe según salen y las guarda."""

    def __init__(self, repeats: int, quick: bool):
        self.repeats, self.quick = repeats, quick
        self.results: list[Result] = []
        self.notes: list[tuple[str, str]] = []
        self.group = ""

    def starts(self, group: str, chosen: Sequence[str]) -> bool:
        """Dice si se mide un grupo; lo que venga después es suyo."""
        self.group = group
        return group in chosen

    def compare(
        self, case: str, ours: Action, peers: dict[str, tuple[Action, float | None]], *, images: int | None = None
    ) -> None:
        """Mide `ours` y cada par, por turnos, las veces de la orden, después de una vez que no cuenta.

        Parameters
        ----------
        peers : dict of str to (action, target)
            Cada par con el cociente que se pide.
        images : int, optional
            Imágenes que recorre cada acción: entonces se escriben imágenes por segundo.
        """
        for action in (ours, *(action for action, _ in peers.values())):
            action()
        taken: dict[str, list[float]] = {name: [] for name in ("", *peers)}
        for _ in range(self.repeats):
            taken[""].append(seconds(ours))
            for name, (action, _) in peers.items():
                taken[name].append(seconds(action))
        for name, (_, target) in peers.items():
            ratios = np.divide(taken[name], taken[""])
            middle = [float(np.median(taken[which])) for which in ("", name)]
            mine, other = [images / value if images else value for value in middle]
            spread = [float(value) for value in (np.median(ratios), ratios.min(), ratios.max())]
            unit = "imágenes/s" if images else "s"
            self._add(Result(self.group, case, name, unit, mine, other, *spread, target, self.repeats))

    def take(self, case: str, value: float, *, unit: str = "s", target: float | None = None) -> None:
        """Anota una medida sin par."""
        self._add(Result(self.group, case, "", unit, value, target=target))

    def note(self, text: str) -> None:
        """Anota algo que quien lea la tabla debe saber."""
        self.notes.append((self.group, text))
        print(f"    {text}", flush=True)

    def _add(self, result: Result) -> None:
        self.results.append(result)
        against = f"   {result.peer}: {result.theirs:.4g}" if result.theirs is not None else ""
        ratio = f"   {result.ratio:.2f}× [{result.low:.2f}, {result.high:.2f}]" if result.ratio is not None else ""
        wanted = {None: "", True: "   cumple", False: "   NO cumple"}[result.met]
        print(f"{result.case:<58} {result.ours:9.4g} {result.unit}{against}{ratio}{wanted}", flush=True)

    def keep(self, record: dict[str, Any], groups: Sequence[str]) -> None:
        """Añade, de lo medido otra vez, lo que no es de `groups`: lo que ahora no se mide."""
        kept = [result for result in record["results"] if result["group"] not in groups]
        self.results += [Result(**{name: result[name] for name in Result.__annotations__}) for result in kept]
        self.notes += [(group, text) for group, text in record["notes"] if group not in groups]

    def as_json(self) -> dict[str, Any]:
        """Las filas y las notas, para guardarlas."""
        return {"results": [asdict(result) | {"met": result.met} for result in self.results], "notes": self.notes}


class Torch:
    """El par de PyTorch, en su proceso; `None` en `version` si no está instalado."""

    def __init__(self, python: str):
        command = [python, str(Path(__file__).with_name("torch_peer.py"))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        hello = self._answer()
        self.version: str | None = hello["torch"] if hello else None

    def __enter__(self) -> "Torch":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, task: str, **options: Any) -> Any:
        """Pide una tarea y espera su respuesta."""
        print(json.dumps([task, options]), file=self._process.stdin, flush=True)
        answer = self._answer()
        if answer is None:
            sys.exit(f"El proceso de PyTorch terminó al pedirle {task}: ejecútelo a mano para ver por qué.")
        return answer

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        return json.loads(line) if line else None
