"""`make bench` corre, compara lo mismo con lo mismo y no estropea nada."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def bench(*arguments):
    order = [sys.executable, "benchmarks/bench.py", "--quick", *arguments]
    return subprocess.run(order, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_short_bench_compares_the_same_pixels_and_writes_nothing():
    page = ROOT / "docs" / "rendimiento.md"
    before = page.read_bytes()
    done = bench("--set", "only=entrada,producto")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    [pixels] = [line for line in lines if line.startswith("diferencia con los píxeles")]
    assert pixels.endswith("   cumple")
    assert sum("×" in line for line in lines) >= 8
    assert page.read_bytes() == before


def test_a_group_that_does_not_exist_is_told():
    done = bench("--set", "only=todo")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: No hay mediciones de «todo». Las que hay: entrada,")
