"""Puntuaciones simuladas y tablas de predicciones con las que se prueba la evaluación."""

import numpy as np
import pandas as pd


def simulated(n=400, *, separation=2.0, share=0.7, seed=0, scale=1.0):
    """Etiquetas y logits calibrados (con `scale` 1) de dos gaussianas."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    x = rng.normal(size=n) + separation * y
    logit = separation * x - separation**2 / 2 + np.log(share / (1 - share))
    return y, scale * logit


def clustered(rng, *, patients=60, share=0.6, spread=1.5):
    """Pacientes de 1 a 6 imágenes muy parecidas entre sí, y la sensibilidad y especificidad de la población."""
    sizes = rng.integers(1, 7, size=patients)
    y = rng.random(patients) < share
    effect = rng.normal(size=patients) * spread
    group = np.repeat(np.arange(patients), sizes)
    logit = effect[group] + np.where(y[group], 1.0, -1.0) + 0.3 * rng.normal(size=len(group))
    return y[group].astype(int), logit, group


def predictions(models=("original", "mejorado"), seeds=(0, 1), n=60):
    tables = []
    for m, model in enumerate(models):
        for seed in seeds:
            y, logit = simulated(n, seed=9)
            logit = (1 + m) * logit + np.random.default_rng(seed).normal(size=n)
            identity = {"model": model, "seed": seed, "partition": "val"}
            paths = [f"{i}.jpeg" for i in range(n)]
            tables.append(
                pd.DataFrame({**identity, "path": paths, "group": np.arange(n) // 2, "y_true": y, "logit": logit})
            )
    return pd.concat(tables, ignore_index=True)
