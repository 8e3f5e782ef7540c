"""PneumoniaMNIST (MedMNIST v2): un archivo de Zenodo, con su suma, que se desempaqueta en una carpeta por clase."""

import hashlib
from pathlib import Path

from neumo.cache import cached
from neumo.errors import NeumoError
from neumo.params import Params

ZENODO = "https://zenodo.org/records/10519652/files/"
_MOST_IMAGES = 10_000  # el conjunto tiene 5856; un archivo comprimido puede declarar mucho más de lo que ocupa
MD5 = {
    28: "28209eda62fecd6e6a2d98b1501bb15f",
    64: "8f4eceb4ccffa70c672198ea285246c6",
    128: "05b46931834c231683c68f40c47b2971",
    224: "d6a3c71de1b945ea11211b03746c1fe1",
}


def unpacked(params: Params, *, cache: Path) -> tuple[Path, str]:
    """Deja PneumoniaMNIST en una carpeta con la disposición de Kaggle y lo describe.

    Parameters
    ----------
    params : Params
        `pneumoniamnist_size`, `class_names` y, si el archivo ya está en el disco, `data_dir`.
    cache : Path
        Donde se guarda lo descargado y lo desempaquetado.

    Raises
    ------
    NeumoError
        Si no se puede descargar, o el archivo es de otra forma.
    """
    size = params.pneumoniamnist_size
    archive = _archive(size, Path(params.data_dir) if params.data_dir else cache / "downloads")
    stat = archive.stat()
    key = {"size": size, "bytes": stat.st_size, "time": stat.st_mtime_ns, "class_names": params.class_names}

    def build(folder: Path) -> None:
        _unpack(archive, folder, size, params.class_names)

    folder = cached(cache, "pneumoniamnist", key, build, code=__name__)
    text = f"PneumoniaMNIST a {size} píxeles; no dice de qué paciente es cada imagen"
    if hashlib.md5(archive.read_bytes()).hexdigest() != MD5[size]:
        text += "; el archivo no es el publicado (su suma MD5 es otra)"
    return folder, text


def _archive(size: int, folder: Path) -> Path:
    import pooch

    name = "pneumoniamnist.npz" if size == 28 else f"pneumoniamnist_{size}.npz"
    on_disk = folder if folder.is_file() else folder / name
    if on_disk.is_file():
        return on_disk
    pooch.get_logger().setLevel("ERROR")
    try:
        path = pooch.retrieve(f"{ZENODO}{name}", f"md5:{MD5[size]}", fname=name, path=folder, progressbar=False)
    except Exception as error:
        raise NeumoError(
            f"No se pudo descargar {name} de Zenodo ({type(error).__name__}). Descárguelo a mano de {ZENODO}{name} y use "
            'SET="source=pneumoniamnist data_dir=carpeta".'
        ) from error
    return Path(path)


def _unpack(archive: Path, folder: Path, size: int, class_names: list[str]) -> None:
    import numpy as np
    from PIL import Image

    wanted = [f"{part}_{kind}" for part in ("train", "val", "test") for kind in ("images", "labels")]
    try:
        with archive.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            members = [one for one in stored.zip.infolist() if one.filename.removesuffix(".npy") in wanted]
            if sum(one.file_size for one in members) > _MOST_IMAGES * size**2 + 2**20:
                raise ValueError("declara más imágenes de las que hay")
            arrays = {key: stored[key] for key in wanted if key in stored}
    except Exception as error:
        raise NeumoError(f"«{archive.name}» no es un archivo .npz entero. Bórrelo y vuelva a descargarlo.") from error
    if missing := [key for key in wanted if key not in arrays]:
        raise NeumoError(
            f"A «{archive.name}» le faltan {', '.join(missing)}: no es PneumoniaMNIST. Descárguelo de {ZENODO}."
        )
    for part in ("train", "val", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"].ravel()
        if images.shape[1:] != (size, size) or images.dtype != np.uint8:
            raise NeumoError(
                f"En «{archive.name}», {part}_images trae imágenes de {images.shape[1:]} ({images.dtype}) y se pidieron "
                f"de {size} píxeles en uint8: revise pneumoniamnist_size."
            )
        if len(labels) != len(images) or not np.isin(labels, (0, 1)).all():
            raise NeumoError(
                f"En «{archive.name}», {part}_labels debe tener un 0 o un 1 por imagen: no es PneumoniaMNIST. Descárguelo "
                f"de {ZENODO}."
            )
    for part in ("train", "val", "test"):
        for index, (pixels, label) in enumerate(
            zip(arrays[f"{part}_images"], arrays[f"{part}_labels"].ravel(), strict=True)
        ):
            target = folder / part / class_names[int(label)]
            target.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target / f"pneumoniamnist_{part}_{index:05d}.png")
