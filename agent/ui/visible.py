"""Text of others on its way to a terminal: what could move a cursor, set a title or hide a line is written out."""


def visible(text: str) -> str:
    r"""The text with its control characters as escapes (`\x1b`); lines and tabs stay, line ends become plain."""
    plain = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in plain)
