"""Lo que se rompe fuera del programa: bits, disco, procesos. Se dice, y al repetir la orden sale lo mismo."""

import ctypes
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neumo import cache
from neumo.report.execute import _reason
from test_graph import _report, project  # noqa: F401


@pytest.mark.parametrize("harm", ["un bit", "cortado", "borrado", "las huellas"])
def test_a_damaged_cache_entry_is_made_again(tmp_path, harm):
    made = []

    def build(folder):
        made.append(folder)
        (folder / "dentro").mkdir(exist_ok=True)
        (folder / "dentro" / "tabla.npy").write_bytes(bytes(range(200)))

    folder = cache.cached(tmp_path, "cosas", {"clave": 1}, build)
    file = folder / "dentro" / "tabla.npy"
    content = bytearray(file.read_bytes())
    content[77] ^= 1
    match harm:
        case "un bit":
            file.write_bytes(content)
        case "cortado":
            file.write_bytes(content[:-1])
        case "borrado":
            file.unlink()
        case _:
            (folder / "sums.json").write_text('{"dentro')
    cache._seen.clear()  # como en otro proceso
    for _ in range(2):
        assert cache.cached(tmp_path, "cosas", {"clave": 1}, build) == folder
        assert file.read_bytes() == bytes(range(200))
    assert len(made) == 2


def test_a_file_that_the_system_does_not_let_grow_is_a_sentence(project):  # noqa: F811
    order = [sys.executable, "-m", "neumo", "report"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))  # noqa: E731
    done = subprocess.run(order, cwd=project, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 2
    assert "el archivo pasa del tamaño" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def _no_privilege():
    """Quita a root, en el proceso que va a nacer, el poder de saltarse los permisos: queda como cualquiera."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE y CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.skipif(sys.platform != "linux", reason="hace falta prctl")
@pytest.mark.parametrize(
    ("place", "mode", "order"),
    [
        ("placas", 0, "report"),
        ("placas", 0, "verify placas"),
        ("placas/NORMAL", 0, "report"),
        ("placas/NORMAL", 0, "verify placas"),
        ("params/demo.yaml", 0, "report"),
        ("build", 0o555, "report"),
        ("build", 0, "report"),
        ("build/demo", 0o555, "report"),
        ("build/cache", 0o555, "report"),
    ],
)
def test_a_place_without_permission_is_a_sentence_that_names_it(project, place, mode, order):  # noqa: F811
    target = project / place
    if place.startswith("build"):
        target.mkdir(parents=True)
    before = target.stat().st_mode
    target.chmod(mode)
    try:
        command = [sys.executable, "-m", "neumo", *order.split()]
        done = subprocess.run(
            command, cwd=project, capture_output=True, text=True, check=False, preexec_fn=_no_privilege
        )
    finally:
        target.chmod(before)
    assert done.returncode == 2
    assert re.fullmatch(
        r"Error: No se puede usar «[^»]+»: no hay permiso para leer o escribir ahí. Cambie los permisos .*\n",
        done.stderr,
    ), done.stderr
    if not place.startswith("build"):
        assert f"«{target.name}»" in done.stderr
    assert "Traceback" not in done.stdout


def _started(project, seconds, how):  # noqa: F811
    """Da la orden y la corta a los `seconds`; devuelve su estado y lo que dijo."""
    order = [sys.executable, "-m", "neumo", "report"]
    with subprocess.Popen(order, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(how)
        return process.wait(), process.stdout.read()


def _kernels(project):  # noqa: F811
    """Cuenta los procesos que trabajan en la carpeta del proyecto."""
    found = 0
    for folder in os.listdir("/proc"):
        if folder.isdecimal():
            try:
                found += os.readlink(f"/proc/{folder}/cwd") == str(project)
            except OSError:
                continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="hace falta /proc")
@pytest.mark.parametrize(("how", "tries"), [(signal.SIGKILL, 30), (signal.SIGINT, 4)])
def test_cut_at_any_moment_the_next_order_ends_as_if_undisturbed(project, how, tries):  # noqa: F811
    names = ("manifest.csv", "exclusions.csv", "listing.csv")
    began = time.monotonic()
    assert _report(project).returncode == 0
    whole_time, build = time.monotonic() - began, project / "build"
    expected = {name: (build / "demo" / name).read_bytes() for name in names}
    shutil.rmtree(build)
    chance = random.Random(0)
    for _ in range(tries):  # lo que queda de un corte es de donde parte el siguiente
        status, said = _started(project, chance.uniform(0.1, 0.9) * whole_time, how)
        assert status in (0, -how, 130), said
        if status == 130:
            assert said.splitlines()[-1] == "Interrumpido: la próxima orden sigue donde quedó esta."
            assert "Traceback" not in said
        if status == 0:
            shutil.rmtree(build)
    time.sleep(3)  # un núcleo mira cada segundo si vive quien lo lanzó
    assert _kernels(project) == 0
    done = _report(project)
    assert done.returncode == 0, done.stderr
    assert {name: (build / "demo" / name).read_bytes() for name in names} == expected
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="el límite solo cuenta en Linux")
def test_a_network_that_does_not_fit_in_memory_is_a_sentence_and_the_others_are_kept(tmp_path):
    """Con 6 GB de memoria, el segundo intento no cabe; al arreglarlo, el primero no se entrena otra vez."""
    order = [sys.executable, "-m", "neumo", "report", "--params", "params/prueba.yaml", "--build", tmp_path]
    order += ["--until", "09", "--set"]
    huge = "attempts.intento_2.batch_size=64 attempts.intento_2.image_size=512 attempts.intento_2.channels=3"
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (6 * 10**9,) * 2)  # noqa: E731
    root = Path(__file__).parents[1]
    told = subprocess.run([*order, huge], cwd=root, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert told.returncode == 2
    assert (
        "Error: El capítulo 09_recompilacion falló: el núcleo de Python murió; suele ser falta de memoria"
        in told.stderr
    )
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/training/*/model.keras")}
    assert trained
    small = "attempts.intento_2.batch_size=8"
    done = subprocess.run([*order, small], cwd=root, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/training/*/model.keras")}
    assert trained.items() < kept.items()


def test_what_the_disk_does_not_let_a_chapter_write_is_a_sentence():
    class InTheKernel(Exception):
        ename, evalue = "OSError", "[Errno 28] No space left on device: '/datos/de/ana/manifest.csv'"

    said = "No se puede usar «manifest.csv»: el disco está lleno. Libere espacio y repita la orden: sigue donde quedó."
    assert _reason(InTheKernel()) == said
