"""Cambios de `SET` que no se admiten."""

import pytest

from neumo.errors import NeumoError
from neumo.params_reader import load, parse_overrides


def refusal(change):
    """La frase con que se rechaza un cambio."""
    with pytest.raises(NeumoError) as error:
        load(None, parse_overrides(change))
    return str(error.value)
