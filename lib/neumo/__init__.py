"""Biblioteca del informe «neumonía o normal en radiografías de tórax»: cada módulo es un paso de los datos."""

__version__ = "0.1.0"
