"""Mide lo de este proyecto frente a lo que se usaría en su lugar, y escribe `docs/rendimiento.md`.

    make bench                     # todo, unos 45 minutos en dos núcleos; compara el informe con build/demo, si está
    make bench QUICK=1             # menos imágenes y repeticiones: menos de 3 minutos, y no escribe nada
    make bench SET="originals=chest_xray_original resized=chest_xray_224 torch=otro/bin/python only=entrada,redes"

Sin carpetas, usa radiografías sintéticas. Los pares de PyTorch se miden si lo hay: `pip install -r benchmarks/requirements.txt`.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import inputs
import page
import product
import training_cases
from harness import Bench, Torch

from neumo import hardware
from neumo.data.phantom import make_phantom
from neumo.errors import NeumoError
from neumo.params_reader import parse_overrides

GROUPS = ("entrada", "redes", "auc", "producto", "informe", "crecimiento")
QUICK = ("entrada", "redes", "producto")


def processor() -> str:
    """El modelo del procesador, si el sistema lo dice."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def where(torch: Torch, options: dict) -> dict[str, str]:
    """La máquina, las versiones, el día y la orden."""
    data = {name: Path(options[name]).name for name in ("originals", "resized") if name in options}
    told = " ".join(f"{name}={value}" for name, value in data.items())
    return {
        "procesador": f"{processor()}, {hardware.cores()} núcleos, bfloat16 {'sí' if hardware.has_bfloat16() else 'no'}",
        "imágenes": told or "sintéticas",
        "versiones": ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy", "scikit-learn"))
        + (f", torch {torch.version}" if torch.version else ", sin PyTorch"),
        "fecha": time.strftime("%Y-%m-%d"),
        "orden": "`make bench" + (f' SET="{told}"' if told else "") + "`",
    }


def folders(options: dict, scratch: Path, *, quick: bool) -> dict[str, Path]:
    """Las carpetas que se dieron o, en su lugar, radiografías sintéticas."""
    found = {}
    for name, count, size in (
        ("originals", 60 if quick else 160, 1100),
        ("resized", 600 if quick else 1600, inputs.SIZE),
    ):
        found[name] = Path(options.get(name, scratch / name))
        if name not in options:
            print(f"Generando {count} radiografías sintéticas de {size} píxeles…", flush=True)
            make_phantom(found[name], images=count, size=size, defects=False)
    return found


def main(argv: list[str] | None = None) -> int:
    """Ejecuta las mediciones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--set",
        default="",
        help='"originals=carpeta resized=carpeta repeats=5 run=build/demo auc=0.99 limit=900 largest=100000"',
    )
    parser.add_argument("--quick", action="store_true", help="una pasada corta, que no escribe nada")
    given = parser.parse_args(argv)
    options, quick = parse_overrides(given.set), given.quick
    chosen = str(options.get("only", "")).split(",") if "only" in options else QUICK if quick else GROUPS
    if unknown := set(chosen) - set(GROUPS):
        raise NeumoError(f"No hay mediciones de «{', '.join(unknown)}». Las que hay: {', '.join(GROUPS)}.")
    warnings.simplefilter("ignore")
    bench, growth = Bench(int(options.get("repeats", 1 if quick else 5)), quick), {}
    run = Path(options.get("run", "build/demo"))
    with tempfile.TemporaryDirectory() as place, Torch(str(options.get("torch", sys.executable))) as torch:
        scratch = Path(place)
        found = folders(options, scratch, quick=quick)
        cache = scratch / "cache"
        if not torch.version:
            bench.note("Sin PyTorch no se miden sus pares: pip install -r benchmarks/requirements.txt")
        if bench.starts("entrada", chosen):
            inputs.same_pixels(bench, found["originals"], cache)
            many = inputs.repeated(found["originals"], scratch / "repetidas", 60 if quick else 600)
            inputs.first_pass(bench, many, torch)
        images = inputs.ours(found["resized"], cache)
        if bench.starts("entrada", chosen):
            inputs.later_epochs(bench, found["resized"], images, torch)
        if bench.starts("redes", chosen):
            training_cases.epoch(bench, found["resized"], images, torch, scratch)
            training_cases.improved_epoch(bench, images, torch, scratch)
            training_cases.finder(bench, images)
        if bench.starts("auc", chosen):
            goal, limit = float(options.get("auc", 0.99)), float(options.get("limit", 900))
            training_cases.until_auc(bench, found["resized"], goal, limit)
        if bench.starts("producto", chosen):
            product.bootstrap(bench)
            product.predictions(bench, run, found["originals"], scratch)
            product.phantom(bench)
        if bench.starts("informe", chosen):
            product.report(bench, run)
        if bench.starts("crecimiento", chosen):
            growth = product.growth(bench, int(options.get("largest", 100_000)))
        if quick:
            return 0
        if "only" in options:
            growth = page.complete(bench, GROUPS, chosen, growth, processor())
        causes = Path(__file__).with_name("causas.md").read_text(encoding="utf-8")
        print(f"Escrito: {os.path.relpath(page.write(bench, where(torch, options), causes, growth))}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NeumoError as error:
        sys.exit(f"Error: {error}")
