"""Un proyecto mínimo de verdad, sin cuadernos todavía: sus carpetas y seis radiografías."""

import numpy as np
from PIL import Image


def skeleton(root, **options):
    """Crea `notebooks/`, `params/` y `placas/`, con tres imágenes de ruido por clase; `options`, las de Pillow al guardarlas."""
    for name in ("notebooks", "params"):
        (root / name).mkdir()
    for label in ("NORMAL", "PNEUMONIA"):
        (root / "placas" / label).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 255, (24, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "placas" / label / f"IM-{i:04d}-0001.png", **options)
