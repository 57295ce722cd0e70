"""What all nouns have in common: they are frozen, and go to and from JSON."""

from pydantic import BaseModel, ConfigDict


class Noun(BaseModel):
    """Base of everything that is journalled: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
