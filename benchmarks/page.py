"""Escribe `docs/rendimiento.md`, su figura y su JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import Bench, Result

from neumo.errors import NeumoError

DOCS = Path(__file__).parents[1] / "docs"

HEAD = """# Rendimiento

Lo escribe `make bench`: no lo edite. Cada caso y cada par se miden por turnos, en un mismo proceso (PyTorch, en otro), después de una vez que no
cuenta; el cociente dice cuántas veces más deprisa va lo de aquí, mediana de las parejas, con el menor y el mayor entre corchetes. Los
tiempos dependen de la máquina; los cocientes, mucho menos.

"""


def complete(bench: Bench, groups: Sequence[str], chosen: Sequence[str], growth: dict, processor: str) -> dict:
    """Completa lo medido con lo que ya estaba escrito de otros grupos, si se midió en un procesador igual; devuelve el crecimiento."""
    if not (DOCS / "rendimiento.json").is_file():
        return growth
    record = json.loads((DOCS / "rendimiento.json").read_text(encoding="utf-8"))
    if processor not in record["where"]["procesador"]:
        raise NeumoError("docs/rendimiento.json es de otro procesador: mida todo, sin only.")
    bench.keep(record, chosen)
    bench.results.sort(key=lambda result: groups.index(result.group))
    before = {part: {int(size): value for size, value in taken.items()} for part, taken in record["growth"].items()}
    return growth if "crecimiento" in chosen else before


def number(value: float | None) -> str:
    """Tres cifras, sin notación científica donde no hace falta."""
    if value is None:
        return ""
    return f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 1000 else f"{value:.3g}"


def row(result: Result) -> str:
    """Una fila de la tabla."""
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}× [{result.low:.2f}, {result.high:.2f}]"
    sign = "≥" if result.ratio is not None else "≤"
    wanted = "" if result.target is None else f"{sign} {result.target:.3g}"
    met = {None: "", True: "sí", False: "**no**"}[result.met]
    cells = (
        result.case.strip(),
        f"{number(result.ours)} {result.unit}",
        result.peer,
        number(result.theirs),
        ratio,
        wanted,
        met,
    )
    return f"| {' | '.join(cells)} |"


def write(bench: Bench, where: dict[str, Any], causes: str, growth: dict[str, dict[int, float]]) -> Path:
    """Escribe la página con lo medido y lo que se sabe de cada límite que no se alcanza."""
    figure(bench.results, growth, DOCS / "rendimiento.png")
    record = {"where": where, **bench.as_json(), "growth": growth}
    (DOCS / "rendimiento.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    told = "; ".join(f"{name}: {value}" for name, value in where.items())
    lines = [
        HEAD + f"{told}.\n",
        "| caso | aquí | par | par, lo mismo | cociente | se pide | cumple |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(row(result) for result in bench.results),
        "",
        *(f"- {text}" for _, text in bench.notes),
        "",
        f"![Cocientes con cada par{', y segundos de cada parte según las imágenes' if growth else ''}](rendimiento.png)",
        "",
        "Las cifras, en `rendimiento.json`.",
        "",
        causes.strip(),
        "",
    ]
    page = DOCS / "rendimiento.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def figure(results: list[Result], growth: dict[str, dict[int, float]], file: Path) -> None:
    """Los cocientes, en escala logarítmica con lo que se pide, y los segundos de cada parte según las imágenes."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    shown = [result for result in results if result.ratio is not None]
    height = 0.32 * len(shown) + 1.5
    figure, axes = plt.subplots(
        1, 2 if growth else 1, figsize=(13 if growth else 9, height), layout="constrained", squeeze=False
    )
    left = axes[0, 0]
    for place, result in enumerate(shown):
        left.plot([result.low, result.high], [place, place], color="#0072B2", linewidth=2)
        left.plot(result.ratio, place, "o", color="#0072B2", label="medido" if not place else None)
        if result.target:
            left.plot(result.target, place, "|", color="#D55E00", markersize=14, markeredgewidth=2)
    left.plot([], [], "|", color="#D55E00", markersize=12, markeredgewidth=2, label="se pide")
    left.axvline(1, color="#999999", linewidth=0.8)
    left.set(
        xscale="log", yticks=range(len(shown)), ylim=(len(shown) - 0.5, -0.5), xlabel="veces más deprisa que el par"
    )
    left.set_yticklabels([f"{result.case}\n{result.peer}" for result in shown], fontsize=7)
    left.legend(loc="lower right", fontsize=8)
    if growth:
        right = axes[0, 1]
        for part, measured in growth.items():
            right.plot(list(measured), list(measured.values()), "o-", label=part)
        right.set(xscale="log", yscale="log", xlabel="imágenes", ylabel="segundos")
        right.legend(fontsize=8)
    figure.savefig(file, dpi=110)
