"""El verificador, ante miles de archivos estropeados al azar: cada uno se mide o se dice qué le pasa, pronto y sin gastar memoria."""

import io
import random
import resource
import time

import numpy as np
import pytest
from PIL import Image

from dicom_example import dicom
from neumo.data.pixels import read
from neumo.data.verify import measure
from neumo.errors import NeumoError

pytestmark = pytest.mark.slow
EACH = 2000


def _saved(kind, **options):
    rows = np.add.outer(np.arange(60), np.arange(80)).astype(np.uint8)
    Image.fromarray(rows).save(target := io.BytesIO(), format=kind, **options)
    return target.getvalue()


def _dicom():
    return dicom(np.add.outer(np.arange(60), np.arange(80)).astype(np.uint16), bits=12)


SEEDS = {
    "JPEG": lambda: _saved("JPEG", quality=80),
    "JPEG progresivo": lambda: _saved("JPEG", quality=80, progressive=True),
    "PNG": lambda: _saved("PNG"),
    "DICOM": _dicom,
}


def _spoiled(content, chance):
    """Una copia con uno o varios daños: bits, tramos borrados, repetidos o de otro valor, y cortes."""
    spoiled = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        # La mitad de los daños, en la cabecera, que es donde están los tamaños.
        place = chance.randrange(min(len(spoiled), 600) if chance.random() < 0.5 else len(spoiled))
        length = chance.randint(1, 16)
        match chance.randrange(5):
            case 0:
                spoiled[place] ^= 1 << chance.randrange(8)
            case 1:
                spoiled[place : place + length] = chance.randbytes(length)
            case 2:
                del spoiled[place : place + length]
            case 3:
                spoiled[place:place] = spoiled[place : place + length]
            case 4:
                spoiled[place : place + length] = bytes([chance.choice((0, 255))]) * length
        if chance.random() < 0.1 or not spoiled:
            return bytes(spoiled[:place])
    return bytes(spoiled)


@pytest.mark.filterwarnings("ignore")  # las bibliotecas avisan de lo que encuentran; aquí está hecho a posta
@pytest.mark.parametrize("kind", SEEDS)
def test_a_spoiled_file_is_measured_or_refused(kind):
    whole, chance = SEEDS[kind](), random.Random(kind)
    assert measure(read(whole)).width == 80
    before, reasons, slowest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, [], 0.0
    for _ in range(EACH):
        started = time.process_time()
        try:
            measure(read(_spoiled(whole, chance)))
        except NeumoError as error:
            reasons.append(str(error))
        slowest = max(slowest, time.process_time() - started)
    assert EACH // 20 < len(reasons) < EACH
    assert all(0 < len(reason) < 300 for reason in reasons)
    assert slowest < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1.5 * 2**20  # en KiB
