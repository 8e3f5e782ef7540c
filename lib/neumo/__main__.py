"""`python -m neumo …`: lo que llama el Makefile."""

import argparse
import io
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from neumo.errors import NeumoError, machine_failure
from neumo.params_reader import load, parse_overrides
from neumo.run import INTERACTIVE, Run, project_root
from neumo.words import visible

RESERVED = {
    INTERACTIVE: "la ejecución de JupyterLab",
    "cache": "la carpeta de la caché",
    "ejercicios": "la carpeta de los ejercicios",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise NeumoError(f"Orden mal escrita ({message}). Vea `{self.prog} --help`.")


def _run_folder(arguments: argparse.Namespace) -> Path:
    name = arguments.run or Path(arguments.params).stem
    if Path(name).name != name or name.startswith("."):
        raise NeumoError(f"RUN={name!r}: se esperaba un nombre de carpeta sencillo, sin barras ni punto delante.")
    if name in RESERVED:
        raise NeumoError(f"RUN={name}: ese nombre es de {RESERVED[name]}. Elija otro.")
    return Path(arguments.build).absolute() / name


def _run(arguments: argparse.Namespace) -> Run:
    params = load(arguments.params, parse_overrides(arguments.set))
    return Run(folder=_run_folder(arguments), params=params)


def report(arguments: argparse.Namespace) -> int:
    """Construye el informe."""
    from neumo.report.graph import build

    if arguments.pdf and arguments.until:
        raise NeumoError("--pdf es del informe entero: quite --until.")
    started = time.monotonic()
    run = _run(arguments)
    output = build(run, until=arguments.until)
    if arguments.pdf:
        from neumo.report.pdf import pdf

        output = pdf(output, output.with_suffix(".pdf"))
    shown = os.path.relpath(output)
    print(f"Listo en {time.monotonic() - started:.1f} s: {shown}")
    return 0


def sweep(arguments: argparse.Namespace) -> int:
    """Hace muchas ejecuciones y las compara."""
    from neumo.sweep.cluster import sweep

    overrides, started = parse_overrides(arguments.set), time.monotonic()
    failed = sweep(Path(arguments.params), _run_folder(arguments), overrides=overrides, workers=arguments.workers)
    print(f"Terminado en {time.monotonic() - started:.1f} s.")
    if failed:
        print(
            f"Puntos fallidos, {len(failed)}: {', '.join(failed)}. La misma orden los intenta otra vez.",
            file=sys.stderr,
        )
    return 1 if failed else 0


def predict(arguments: argparse.Namespace) -> int:
    """Clasifica radiografías con la red elegida de una ejecución."""
    from neumo.predict import HARMLESS, predict_paths, written_here

    for path, is_folder in ((arguments.output, False), (arguments.explain, True)):
        if path:
            _check_writable(Path(path).absolute(), is_folder=is_folder)
    output = Path(arguments.output) if arguments.output else None
    if output and output.is_file() and output.stat().st_size and not written_here(output):
        raise NeumoError(f"«{output}» ya existe y no es una tabla de esta orden: elija otro nombre para --output.")
    table, others = predict_paths(
        Path(arguments.run), arguments.paths, model=arguments.model, explain=arguments.explain
    )
    text = table.assign(path=table["path"].map(visible)).to_csv(index=False)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
        print(f"{(table['prediction'] != '').sum()} predicciones en {visible(arguments.output)}")
    else:
        print(text, end="")
    for path, reason in others:
        told = "Pasado por alto" if reason in HARMLESS else "No se clasifica"
        print(visible(f"{told} {path}: {reason}"), file=sys.stderr)
    return 1 if any(reason not in HARMLESS for _, reason in others) else 0


def _check_writable(path: Path, *, is_folder: bool) -> None:
    """Comprueba antes de predecir que en `path` se podrá escribir; no crea ni toca nada."""
    place = next(there for there in (path, *path.parents) if os.path.exists(there))
    if place.is_dir() != (is_folder or place != path) or not os.access(place, os.W_OK):
        raise NeumoError(f"No se puede escribir en «{path}»: elija otro sitio.")


def verify(arguments: argparse.Namespace) -> int:
    """Verifica una carpeta o una tabla de imágenes sin entrenar nada."""
    from neumo.data import layout, manifest, patients, sources, verify
    from neumo.data import table as tables

    given = {"source": "table" if Path(arguments.path).is_file() and _is_table(arguments.path) else "folder"}
    given |= {"class_names": arguments.class_names} | parse_overrides(arguments.set) | {"data_dir": arguments.path}
    chosen = load(None, given)
    if chosen.source not in ("folder", "table"):
        raise NeumoError(f"verify revisa carpetas y tablas, y source es «{chosen.source}»: use folder o table.")
    found = sources.locate(chosen, cache=Path("build/cache"))
    folder = found.folder
    table = tables.scan_source(chosen, folder)
    inspection = verify.inspect(table, folder)
    excluded = inspection[inspection["excluded"]]
    print(f"{len(table)} imágenes; {len(excluded)} excluidas.")
    for row in excluded.itertuples():
        print(visible(f"  {row.path}: {row.reason}"))
    print(*(f"  {note}" for note in found.notes), sep="\n")
    for title, images, people, example in patients.schemes_found(table).itertuples(index=False):
        print(visible(f"  Nombres, esquema {title}: imágenes, {images}; pacientes, {people} ({example})."))
    print(patients.coverage(table)[0].replace("*", "").replace("`", ""))
    for path in inspection.loc[inspection["inverted"], "path"]:
        print(visible(f"  {path}: {verify.LOOKS_INVERTED}"))
    named = set(found.files)
    every = (manifest.relative(path, folder) for path in layout.files(folder) if path not in named)
    if others := manifest.left_out(every, set(table["path"])):
        print(f"Otros archivos, que no se usan: {others}.")
    return 0


def _is_table(path: str) -> bool:
    return Path(path).suffix.lower() in (".csv", ".tsv")


def params(arguments: argparse.Namespace) -> int:
    """Escribe params/demo.yaml, las celdas `parameters` y la tabla de la guía."""
    from neumo.params_writer import sync

    changed = sync(project_root())
    for path in changed:
        print(os.path.relpath(path))
    print(f"{len(changed)} archivos puestos al día." if changed else "Todo estaba al día.")
    return 0


def ejercicios(arguments: argparse.Namespace) -> int:
    """Escribe las dos copias de cada ejercicio: la de clase, sin soluciones, y la de quien enseña."""
    from neumo.teaching.forms import copies

    for path in copies(project_root() / "docs" / "ejercicios", Path(arguments.build) / "ejercicios"):
        print(os.path.relpath(path))
    return 0


def aula(arguments: argparse.Namespace) -> int:
    """Reúne en un archivo los ejercicios, sus soluciones y la ejecución de la que salen."""
    from neumo.teaching.kit import kit

    written = kit(project_root() / "docs" / "ejercicios", Path(arguments.run), Path(arguments.build) / "aula.zip")
    print(f"{os.path.relpath(written)}: {written.stat().st_size / 1e6:.1f} MB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m neumo", description="Informe: neumonía o normal en radiografías de tórax.")
    commands = parser.add_subparsers(required=True, metavar="orden", parser_class=_Parser)
    report_order = commands.add_parser("report", help="construye el informe")
    sweep_order = commands.add_parser("sweep", help="hace muchas ejecuciones y las compara")
    for command, name in ((report_order, "demo"), (sweep_order, "barrido")):
        command.add_argument("--params", default=f"params/{name}.yaml", help="archivo de parámetros")
        command.add_argument("--run", default="", help="nombre de la ejecución (por omisión, el del archivo)")
        command.add_argument("--set", default="", help='cambios: "clave=valor grupo.clave=valor"')
        command.add_argument("--build", default="build", help="carpeta de las ejecuciones")
    sweep_order.add_argument("--workers", type=int, default=None, help="puntos a la vez en esta máquina")
    sweep_order.set_defaults(action=sweep)
    command = report_order
    command.add_argument("--until", default=None, help="construye solo hasta ese capítulo, por ejemplo 09")
    command.add_argument("--pdf", action="store_true", help="escribe también informe.pdf")
    command.set_defaults(action=report)
    command = commands.add_parser("predict", help="clasifica radiografías con la red de una ejecución")
    command.add_argument("paths", nargs="+", metavar="RUTA", help="archivos o carpetas")
    command.add_argument("--run", required=True, help="carpeta de la ejecución, por ejemplo build/demo")
    command.add_argument("--model", default=None, help="otro modelo final que el elegido")
    command.add_argument("--output", default=None, help="archivo CSV (por omisión, la terminal)")
    command.add_argument("--explain", default=None, metavar="CARPETA", help="escribe ahí mapas de Grad-CAM")
    command.set_defaults(action=predict)
    command = commands.add_parser("verify", help="verifica una carpeta o una tabla de imágenes")
    command.add_argument("path", metavar="RUTA", help="carpeta, o tabla .csv o .tsv")
    command.add_argument("--set", default="", help='lo que se daría a report: "source=table image_table.label=…"')
    command.add_argument("--class-names", nargs=2, default=["NORMAL", "PNEUMONIA"], metavar=("NEG", "POS"))
    command.set_defaults(action=verify)
    command = commands.add_parser("ejercicios", help="escribe los ejercicios, con y sin soluciones")
    command.add_argument("--build", default="build", help="carpeta donde se deja ejercicios/")
    command.set_defaults(action=ejercicios)
    command = commands.add_parser("aula", help="reúne en un archivo lo que necesita una clase")
    command.add_argument("--run", default="build/demo", help="ejecución terminada")
    command.add_argument("--build", default="build", help="carpeta donde se deja aula.zip")
    command.set_defaults(action=aula)
    command = commands.add_parser("params", help="pone al día lo que se escribe desde los parámetros")
    command.set_defaults(action=params)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Ejecuta una orden; los errores salen como una frase y el detalle va a un registro."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # un nombre de archivo puede no estar en UTF-8
    try:
        arguments = _parser().parse_args(argv)
        return arguments.action(arguments)
    except NeumoError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrumpido: la próxima orden sigue donde quedó esta.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if reason := machine_failure(error):
            print(f"Error: {reason}", file=sys.stderr)
            return 2
        log = Path(tempfile.mkdtemp(prefix="neumo-")) / "error.log"
        log.write_text(traceback.format_exc(), encoding="utf-8")
        print(f"Error inesperado: {type(error).__name__}: {error}. El detalle está en {log}.", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
