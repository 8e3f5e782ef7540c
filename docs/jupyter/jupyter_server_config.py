"""Para que abrir un cuaderno en JupyterLab no lo cambie.

Al conectar con el núcleo, JupyterLab escribe en el cuaderno qué Python es, y lo da por cambiado. Aquí lo recibe ya escrito; al
guardar, queda como en el proyecto, que no depende de la máquina.
"""

from typing import Any

from ipykernel.ipkernel import IPythonKernel
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

SAVED = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class QuietManager(AsyncLargeFileManager):
    """Cambia lo que un cuaderno de Python dice de su núcleo: al leerlo, lo de esta máquina; al guardarlo, lo de todas."""

    async def get(self, path: str, content: bool = True, *args: Any, **options: Any) -> dict[str, Any]:
        """Lee un archivo."""
        model = await super().get(path, content, *args, **options)
        spec = KernelSpecManager().get_kernel_spec("python3")
        here = {"display_name": spec.display_name, "language": spec.language, "name": "python3"}
        _describe(model, {"kernelspec": here, "language_info": dict(IPythonKernel.language_info)})
        return model

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Guarda un archivo."""
        _describe(model, SAVED)
        return await super().save(model, path)


def _describe(model: dict[str, Any], told: dict[str, Any]) -> None:
    metadata = (model.get("content") or {}).get("metadata", {}) if model.get("type") == "notebook" else {}
    if metadata.get("kernelspec", {}).get("name") == "python3":
        metadata.update(told)


c.ServerApp.contents_manager_class = QuietManager  # noqa: F821
