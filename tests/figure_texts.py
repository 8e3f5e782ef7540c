"""Lo que se lee en unos ejes dibujados."""


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().texts]
