"""Words of certificates that fit into a column of a table, in the order of `certify.VERDICTS`."""

SHORT = ("not stationary", "saddle", "local", "grows", "global")


def short(code: float) -> str:
    """The word of a code; empty for NaN, where nothing was certified."""
    return "" if code != code else SHORT[int(code)]
