"""Busca secretos en lo que una persona comparte de una ejecución: todo menos `logs/`, y dentro de las imágenes de la página."""

import base64
import getpass
import platform
import re
import tempfile
from pathlib import Path


def leaks(run, *planted):
    """Pares (archivo, secreto) que no deberían salir de aquí: lo plantado, el equipo, la casa y la carpeta del proyecto."""
    root = Path(__file__).parents[1]
    places = [root, Path.home() / ".", tempfile.gettempdir(), f"{getpass.getuser()}@"]
    host = platform.node()
    secrets = [*planted, *map(str, places), *([host] if len(host) > 3 else [])]  # uno más corto sale al azar en base64
    files = [path for path in run.rglob("*") if path.is_file() and path.relative_to(run).parts[0] != "logs"]
    assert any(path.suffix == ".ipynb" for path in files)
    return [(path.name, secret) for path in files for secret in secrets if secret.encode() in _content(path)]


def _content(path):
    content = path.read_bytes()
    inside = re.findall(rb"data:image/[\w+]+;base64,([\w+/=]+)", content)
    return b"\n".join([str(path).split("build", 1)[1].encode(), content, *map(base64.b64decode, inside)])
