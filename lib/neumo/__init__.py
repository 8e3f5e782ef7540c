"""Biblioteca del informe «neumonía o normal en radiografías de tórax»: sus pisos, en docs/arquitectura.md."""

__version__ = "0.2.0"
