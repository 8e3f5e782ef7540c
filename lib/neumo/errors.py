"""El único error que la biblioteca dirige a una persona."""


class NeumoError(Exception):
    """Error con remedio: una frase en español que dice qué se encontró, qué se esperaba y qué hacer."""
