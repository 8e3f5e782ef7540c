"""Biblioteca del informe «neumonía o normal en radiografías de tórax»: sus pisos, en docs/arquitectura.md."""

import os
import platform

__version__ = "0.2.0"

# TensorFlow solo usa por su cuenta las operaciones de oneDNN donde hay AVX-512. Aquí, en todo procesador x86: donde no lo
# hay se entrena en un 20 a 30 % menos de tiempo, y las redes salen más parecidas de una máquina a otra.
if platform.machine() in {"x86_64", "AMD64"}:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
