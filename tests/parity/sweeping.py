"""tmp"""


def sweep_all(loaded, tables):
    pass
