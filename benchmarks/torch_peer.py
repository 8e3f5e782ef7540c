"""Lo mismo, en PyTorch, en un proceso aparte: lee peticiones de la entrada, una por línea, y responde con sus segundos."""

import itertools
import json
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision import datasets
from torchvision.transforms import v2

BATCH = 32


class Original(nn.Module):
    """La red de 13 capas, con los mismos pesos, relleno y constantes que en Keras."""

    def __init__(self, side: int, channels: int, momentum: float, dropout: float):
        super().__init__()
        widths = (channels, 32, 64, 128)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=1e-3, momentum=1 - momentum) for width in widths[1:])
        for _ in range(3):
            side = (side - 2) // 2
        self.drop = nn.Dropout(dropout)
        self.hidden, self.last = nn.Linear(side * side * 128, 128), nn.Linear(128, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """De píxeles 0..255 a logits."""
        x = pixels / 255
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(F.max_pool2d(F.relu(conv(x)), 2))
        x = self.drop(x.permute(0, 2, 3, 1).flatten(1))  # en el orden de Keras
        return self.last(F.relu(self.hidden(x)))

    def leaves(self) -> list[nn.Module]:
        """Capas con pesos, en el orden en que Keras los guarda."""
        pairs = [layer for pair in zip(self.convs, self.norms, strict=True) for layer in pair]
        return [*pairs, self.hidden, self.last]


class Conv(nn.Module):
    """Convolución sin sesgo, con el relleno «same» de TensorFlow, y normalización."""

    def __init__(self, before: int, filters: int, momentum: float, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.pad = (0, 1, 0, 1) if stride == 2 and kernel == 3 else (kernel // 2,) * 4
        self.conv = nn.Conv2d(before, filters, kernel, stride, bias=False)
        self.norm = nn.BatchNorm2d(filters, eps=1e-3, momentum=1 - momentum)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolución y normalización."""
        return self.norm(self.conv(F.pad(x, self.pad)))


class Residual(nn.Module):
    """La red residual mejorada."""

    def __init__(self, side: int, channels: int, momentum: float, dropout: float, width: int):
        super().__init__()
        self.first, before, self.stages = Conv(channels, width, momentum, stride=2), width, nn.ModuleList()
        for stage, filters in enumerate(width * factor for factor in (1, 2, 4, 8)):
            block = nn.ModuleDict(
                {
                    "one": Conv(before, filters, momentum, stride=2 if stage else 1),
                    "two": Conv(filters, filters, momentum),
                }
            )
            if before != filters:
                block["short"] = Conv(before, filters, momentum, kernel=1)
            self.stages.append(block)
            before = filters
        self.drop, self.last = nn.Dropout(dropout), nn.Linear(before, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """De píxeles 0..255 a logits."""
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        x = (pixels - mean) / torch.sqrt(pixels.var(dim=(1, 2, 3), keepdim=True, unbiased=False) + 1.0)
        x = F.relu(self.first(x))
        for stage, block in enumerate(self.stages):
            y = block["two"](F.relu(block["one"](x)))
            short = F.avg_pool2d(x, 2) if stage else x
            x = F.relu(y + (block["short"](short) if "short" in block else short))
        return self.last(self.drop(x.mean(dim=(2, 3))))

    def leaves(self) -> list[nn.Module]:
        """Capas con pesos, en el orden en que Keras los guarda."""
        found: list[nn.Module] = [self.first.conv, self.first.norm]
        for block in self.stages:  # las dos ramas se guardan a la vez, capa a capa
            branches = [block["short"], block["two"]] if "short" in block else [block["two"]]
            found += [block["one"].conv, block["one"].norm]
            found += [branch.conv for branch in branches] + [branch.norm for branch in branches]
        return [*found, self.last]


def load_weights(model: Any, file: str) -> None:
    """Pone los pesos de una red de Keras, guardados con sus nombres de capa en su orden."""
    stored = np.load(file)
    weights = iter([torch.from_numpy(stored[f"w{position}"]) for position in range(len(stored.files))])
    with torch.no_grad():
        for layer in model.leaves():
            if isinstance(layer, nn.BatchNorm2d):
                for target in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                    target.copy_(next(weights))
                continue
            kernel = next(weights)
            layer.weight.copy_(kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T)
            if layer.bias is not None:
                layer.bias.copy_(next(weights))


def loader(folder: str, *, channels: int, augment: bool, side: int) -> DataLoader:
    """Lo que se escribiría con torchvision: carpeta, transformaciones y dos procesos."""
    steps: list[Any] = [v2.Resize((side, side)), v2.ToImage()]
    steps = [v2.Grayscale(), *steps] if channels == 1 else [v2.RGB(), *steps]
    if augment:
        affine = v2.RandomAffine(20, translate=(0.2, 0.2), scale=(0.8, 1.2), shear=0.2)
        steps += [affine, v2.RandomHorizontalFlip()]
    steps.append(v2.ToDtype(torch.float32, scale=True))
    images = datasets.ImageFolder(Path(folder) / "train", v2.Compose(steps))
    return DataLoader(images, BATCH, shuffle=True, num_workers=2, persistent_workers=True)


def until(batches: Iterable, count: int) -> Iterator:
    """Da los lotes hasta que suman `count` imágenes."""
    seen = 0
    for images, labels in batches:
        yield images, labels
        seen += len(images)
        if seen >= count:
            return


class Peer:
    """Guarda de una petición a otra lo que no debe contarse: redes, cargadores, imágenes en memoria."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def once(self, key: str, make: Any) -> Any:
        """Hace algo la primera vez que se pide."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def drain(self, count: int, fresh: bool = False, **options: Any) -> float:
        """Recorre `count` imágenes; `fresh` arranca los procesos de nuevo, como en una primera pasada."""
        batches = None if fresh else self.once(json.dumps(options, sort_keys=True), lambda: loader(**options))
        started = time.perf_counter()
        for _ in until(batches or loader(**options), count):
            pass
        return time.perf_counter() - started

    def model(self, network: str, weights: str, compiled: bool, **options: Any) -> Any:
        """Red con los pesos dados, y su optimizador."""

        def make() -> Any:
            built = (Original if network == "original" else Residual)(**options)
            load_weights(built, weights)
            optimizer = torch.optim.Adam(built.parameters(), lr=1e-3, eps=1e-7)
            return torch.compile(built) if compiled else built, optimizer

        return self.once(json.dumps([network, weights, compiled, options]), make)

    @staticmethod
    def step(model: Any, optimizer: Any, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Un paso de entrenamiento; devuelve la pérdida de antes."""
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(images)[:, 0], labels)
        loss.backward()
        optimizer.step()
        return float(loss)

    def losses(self, batch: str, steps: int, **options: Any) -> list[float]:
        """Pérdida de cada paso sobre el mismo lote, desde los mismos pesos."""
        stored = np.load(batch)
        images, labels = (torch.from_numpy(stored[name]) for name in ("images", "labels"))
        model, optimizer = self.model(compiled=False, **options)
        model.train()
        return [self.step(model, optimizer, images, labels) for _ in range(steps)]

    def train(self, count: int, *, data: dict | None = None, memory: str | None = None, **options: Any) -> float:
        """Una época de `count` imágenes: desde la carpeta (`data`) o con ellas ya en memoria (`memory`)."""
        model, optimizer = self.model(**options)
        model.train()
        if memory is None:
            batches = self.once(json.dumps(data, sort_keys=True), lambda: loader(**(data or {})))
        else:
            stored = np.load(memory)
            pair = [torch.from_numpy(stored[name]) for name in ("images", "labels")]
            batches = self.once(memory, lambda: DataLoader(TensorDataset(*pair), BATCH, shuffle=True))
        started = time.perf_counter()
        for images, labels in until(batches, count):
            scaled = images.float() if memory else images * 255
            self.step(model, optimizer, scaled, labels.float())
        return time.perf_counter() - started


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    torch.manual_seed(0)
    peer = Peer()
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        task, options = json.loads(line)
        print(json.dumps(getattr(peer, task)(**options)), flush=True)
