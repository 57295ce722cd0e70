"""Why a model's answer cannot be used. The message teaches: it goes back to the model, and to the user."""

from enum import StrEnum

from agent.text import clean


class Wrong(StrEnum):
    """What is wrong with an answer or with the code it leads to."""

    EMPTY = "empty"  # no answer: nothing, thoughts only
    NO_EDIT = "no_edit"  # prose, a refusal, a shell command
    TRUNCATED = "truncated"
    MARKERS = "markers"  # malformed or unclosed
    NOT_FOUND = "not_found"
    AMBIGUOUS = "ambiguous"
    CONFLICT = "conflict"  # edits that overlap or contradict each other
    LAZY = "lazy"  # "rest unchanged"
    PATH = "path"  # another file, a new one, a rename
    NOOP = "noop"  # nothing changes
    SYNTAX = "syntax"
    UNDEFINED = "undefined"
    IMPORT = "import"
    CONTRACT = "contract"  # a statement or a region that must stay
    DUPLICATE = "duplicate"
    SEED = "seed"  # only the seed changes
    VALUE = "value"  # a constant outside the space, or of another type


class EditError(Exception):
    """Nothing was applied. The message says why and what to do instead, for the model as for the user.

    Attributes:
        wrong: the kind.
    """

    def __init__(self, sentence: str, wrong: Wrong = Wrong.VALUE) -> None:
        super().__init__(clean(sentence))  # it may quote the model
        self.wrong = wrong
