"""Repartir los puntos de un barrido: en esta máquina o en un clúster de Dask ya en marcha."""

import contextlib
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neumo.cache import locked
from neumo.data.sources import prepare
from neumo.errors import NeumoError
from neumo.hardware import cores
from neumo.run import Run, file_digest
from neumo.sweep.images import prepare_images
from neumo.sweep.plan import Point, Sweep, read_plan, write_plan
from neumo.sweep.point import STOP, environment, run_point

SCHEDULER = "DASK_SCHEDULER"
_RETRIES = 3


def sweep(
    path: Path, folder: Path, *, overrides: dict[str, Any] | None = None, workers: int | None = None
) -> list[str]:
    """Hace los puntos que falten de un barrido y, con los que haya, su comparación.

    Parameters
    ----------
    path : Path
        Archivo de parámetros con un grupo `sweep`.
    folder : Path
        `build/<barrido>`.
    overrides : dict, optional
        Los de `SET`.
    workers : int, optional
        Cuántos a la vez en esta máquina; sin decirlo, los que permitan los núcleos y la memoria.

    Returns
    -------
    list of str
        Los puntos que fallaron.

    Raises
    ------
    NeumoError
        Si el plan no vale, ya está en marcha, o un trabajador del clúster tiene otros paquetes.
    """
    plan, points = read_plan(path, folder, overrides=overrides)
    try:
        with locked(folder / ".lock", wait=False):
            _share_cache(folder)
            prepare(Run(folder=folder, params=points[0].params))
            images = file_digest(folder / "listing.csv")
            write_plan(folder, points, images=images)
            failed = _make(path, folder, plan, points, images, workers)
            if len(failed) < len(points):
                from neumo.sweep.comparison import compare

                print(f"Comparación: {os.path.relpath(compare(folder))}")
            return failed
    except BlockingIOError:
        raise NeumoError(f"El barrido «{folder.name}» ya está en marcha. Espere a que termine.") from None


def _share_cache(folder: Path) -> None:
    """La caché es la de todas las ejecuciones, aunque los puntos estén una carpeta más adentro."""
    (folder.parent / "cache").mkdir(parents=True, exist_ok=True)
    if not (folder / "cache").exists():
        (folder / "cache").symlink_to(Path("..", "cache"))


def _make(path: Path, folder: Path, plan: Sweep, points: list[Point], images: str, workers: int | None) -> list[str]:
    records = {point: point.done(images) for point in points}
    pending = [point for point, record in records.items() if record is None]
    seconds = [record["seconds"] for record in records.values() if record]
    print(f"Barrido «{folder.name}»: {len(points)} puntos, {len(seconds)} ya hechos.", flush=True)
    if not pending:
        return []
    (folder / STOP).unlink(missing_ok=True)
    failed = []
    with _client(pending, plan, workers) as (client, hands):
        base = Run(folder=folder, params=points[0].params)
        print(f"Imágenes, verificadas y descodificadas: {prepare_images(client, base, pending)}.", flush=True)
        print(_cost(len(pending), hands, seconds), flush=True)
        told = {"cwd": os.getcwd(), "memory_gb": plan.memory_gb}
        calls = {
            p: {"order": p.order(path), "folder": str(p.folder), "digest": p.digest(images), **told} for p in pending
        }
        for count, (point, record) in enumerate(_results(client, calls, folder / STOP), 1):
            left = len(pending) - count
            if record["status"] == "done":
                seconds.append(record["seconds"])
                text = f"hecho en {record['seconds']:.0f} s, {record['memory_mb']} MB"
            else:
                failed.append(point.folder.name)
                log = os.path.relpath(point.folder / "logs" / "barrido.log")
                text = f"FALLÓ. {record['message']} Su registro: {log}"
            state = f"en marcha, {min(hands, left)}; fallidos, {len(failed)}. " if left else ""
            print(f"[{count:2d}/{len(pending)}] {point.folder.name}: {text}", flush=True)
            print(f"        {state}{_cost(left, hands, seconds)}" if left else "", end="\n" if left else "", flush=True)
    return failed


def _cost(left: int, hands: int, seconds: list[float]) -> str:
    """Lo que queda: la mediana de lo que tardó cada punto, por los que faltan, entre los que van a la vez."""
    if not seconds:
        return f"{left} por hacer, {hands} a la vez; lo que llevará se sabrá con el primero."
    minutes = statistics.median(seconds) * -(-left // hands) / 60
    return f"{left} por hacer, {hands} a la vez: unos {minutes:.1f} minutos."


def _results(client: Any, calls: dict[Point, dict], stop: Path) -> Iterator[tuple[Point, dict]]:
    """Lo que devuelve cada punto según termina; si su trabajador muere, o una señal mata al proceso, se repite."""
    from distributed import as_completed, wait

    def submit(call: dict) -> Any:
        return client.submit(run_point, **call, pure=False, retries=_RETRIES)

    known = {submit(call): (point, _RETRIES) for point, call in calls.items()}
    finished = as_completed(known)
    try:
        for future in finished:
            point, tries = known.pop(future)
            if future.status == "finished":
                yield point, future.result()
            elif tries and type(future.exception()).__name__ == "KilledWorker":
                known[again := submit(calls[point])] = point, tries - 1
                finished.add(again)
            else:
                yield point, {"status": "failed", "message": f"{future.exception()}."}
    except BaseException:  # Ctrl-C: que los procesos caigan antes de soltar el clúster
        stop.touch()
        with contextlib.suppress(Exception):
            wait(list(known), timeout=10)
        raise


@contextlib.contextmanager
def _client(pending: list[Point], plan: Sweep, workers: int | None) -> Iterator[tuple[Any, int]]:
    """Un cliente de Dask y cuántos puntos irán a la vez."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise NeumoError(
            "Los barridos necesitan Dask, que no está instalado: pip install 'distributed' 'bokeh'."
        ) from None
    address = os.environ.get(SCHEDULER)
    with contextlib.ExitStack() as stack:
        if address:
            try:
                client = stack.enter_context(Client(address, timeout=10))
            except OSError:
                raise NeumoError(
                    f"No responde el planificador de {SCHEDULER}={address}: compruebe que está en marcha."
                ) from None
        else:
            hands = min(workers or _room(pending[0], plan.memory_gb), len(pending))
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": _RETRIES}))
            look = {"dashboard_address": "127.0.0.1:0", "silence_logs": 50}
            # memory_limit=0: el núcleo es un nieto del trabajador, y Dask no lo vería.
            cluster = LocalCluster(n_workers=hands, threads_per_worker=1, host="127.0.0.1", memory_limit=0, **look)
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        _check_workers(client)
        hands = sum(client.nthreads().values())
        if not hands:
            raise NeumoError(
                f"El planificador {address} no tiene trabajadores: arranque alguno con `dask worker {address} --nthreads 1`."
            )
        print(f"Trabajadores: {hands}. Tablero de Dask: {client.dashboard_link}", flush=True)
        yield client, hands


def _room(point: Point, memory_gb: float) -> int:
    """Cuántos puntos caben a la vez en esta máquina, por núcleos y por memoria libre."""
    import psutil

    if not point.params.threads:
        print("Sin `threads`, cada punto usa todos los núcleos: van de uno en uno. Con threads: 1, uno por núcleo.")
        return 1
    memory = int(psutil.virtual_memory().available // (memory_gb * 1e9))
    return max(1, min(cores() // point.params.threads, memory))


def _check_workers(client: Any) -> None:
    """No deja trabajar, ni ahora ni cuando llegue, a quien tenga otros paquetes: sus números no se podrían comparar."""
    from distributed import WorkerPlugin

    class SameEnvironment(WorkerPlugin):
        name = "neumo-mismo-entorno"

        def __init__(self, expected: dict[str, str]) -> None:
            self.expected = expected

        def setup(self, worker: Any) -> None:
            from neumo.sweep.point import refusal

            if problem := refusal(self.expected):
                print(f"{worker.address}: {problem}", file=sys.stderr)
                raise RuntimeError(f"El trabajador {worker.address} no entra: {problem}")

    try:
        client.register_plugin(SameEnvironment(environment()))
    except RuntimeError as error:
        raise NeumoError(str(error)) from None
