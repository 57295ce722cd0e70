"""Ranges for constants that nobody declared one for, guessed from name and value: `infer(name, value)`.

A guess must be useful more often than not, and never dishonest: seeds, amounts of training, evaluation and
data are left alone, since changing them would change what is measured instead of how well it trains.
Whatever is left alone comes with its reason in words. Ranges are wide enough to matter and narrow enough
that most of their values still train; whoever knows better declares them in target.toml's [space].

Rules go by the words of a name (`DEVICE_BATCH_SIZE` has three) and are tried in order.
"""

import math
import re

from agent.knobs import Range
from agent.nouns import Value

DECLARE = "declare a range in [space] to search it"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# a name in lower case is a program variable like any other, unless it has one of these words
_HYPERPARAMETER = _set(
    "lr learning batch layer layers depth head heads embd embed embedding hidden hiddens dim width ffn"
    " dropout pdrop decay momentum nesterov beta beta1 beta2 betas ema warmup warmdown cooldown clip"
    " accum accumulation smoothing bias softcap temperature kernel filters mlp expansion"
)
# words of constants that are left alone, and why
_NEVER: tuple[tuple[frozenset[str], str], ...] = (
    (_set("seed seeds"), "a seed: to search it would be to search for luck"),
    (_set("eval evals val valid validation test"), "part of the evaluation: it changes what is measured"),
    (_set("log logs logging print verbose interval every freq save checkpoint ckpt wandb"), "about logging"),
    (_set("time timeout seconds secs minutes hours budget limit"), "a time or a budget: the run decides it"),
    (_set("flops"), "a fact of the hardware"),
    (_set("path dir url uri file filename folder root project name names host port"), "a place or a name"),
    (_set("workers gpu gpus cpu cpus cuda threads rank world backend ddp prefetch pin"), "about the machine"),
    (_set("dtype amp bf16 fp16 fp8 tf32"), "the precision of the numbers"),
    (_set("vocab vocabulary tokenizer data dataset split shuffle shard shards classes channels"), "about the data"),
    (_set("block seq sequence context ctx"), "the length of what is evaluated: it changes what is measured"),
    (_set("debug profile profiling resume only version compile always"), "a switch of the program"),
    (_set("eps epsilon"), "a numerical guard"),
)
_AMOUNT = _set("iters iter iterations epochs epoch steps tokens examples samples")
_PART_OF_SCHEDULE = _set("warmup warmdown cooldown accum accumulation")
_FRACTION = _set("dropout pdrop ratio frac fraction prob probability decay smoothing")
_DROPOUT = _set("dropout pdrop")
_MOMENTUM = _set("momentum beta beta1 beta2 ema")
_SIZE = _set("batch dim size width hidden hiddens embd embed ffn filters units features")
_MODEL_WIDTH = _set("embd embed hidden width dim")


def infer(name: str, value: Value) -> Range | str:
    """A range for the constant, or why it is left alone."""
    reason = _not_searched(name)
    if reason is not None:
        return reason
    if isinstance(value, bool):
        return Range(choices=(False, True))
    if isinstance(value, str | tuple):
        return f"a {'text' if isinstance(value, str) else 'tuple'}: declare choices in [space] to search it"
    if value and not 1e-30 < abs(value) < 1e10:
        return f"no guess for a number like {value!r}: {DECLARE}"
    words = _words(name)
    for rule in (_fraction, _momentum, _learning_rate, _whole, _positive):
        found = rule(words, value)
        if found is not None:
            return found
    return f"no rule for {name} = {value!r}: {DECLARE}"


def _words(name: str) -> frozenset[str]:
    return frozenset(name.lower().strip("_").split("_"))


def _not_searched(name: str) -> str | None:
    words = _words(name)
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name) and not (words & _HYPERPARAMETER):
        return f"does not look like a hyperparameter: {DECLARE}"
    if "device" in words and "batch" not in words:
        return f"about the machine: {DECLARE}"
    for never, reason in _NEVER:
        if words & never:
            return reason
    if words & _AMOUNT and not words & _PART_OF_SCHEDULE:
        return f"the amount of training: the run decides it; {DECLARE}"
    return None


def _fraction(words: frozenset[str], value: float) -> Range | None:
    """Dropout, ratios, weight decay: linear, from the nearer end of [0, 1] to twice as far from it, or 0.3."""
    if not words & _FRACTION or not 0 <= value <= 1 or (value == 1 and isinstance(value, int)):
        return None
    if "decay" in words and (value > 0.5 or 0 < value < 0.01):
        return None  # an averaging constant, or a decay that people search by factors
    if words & _DROPOUT:
        return _range(0.0, 0.5 if value <= 0.5 else 1.0)
    return _range(0.0, max(0.3, 2 * value)) if value <= 0.5 else _range(min(0.7, 2 * value - 1), 1.0)


def _momentum(words: frozenset[str], value: float) -> Range | None:
    """Averaging constants below 1."""
    if not (words & _MOMENTUM or "decay" in words and value > 0.5) or not 0 < value < 1:
        return None
    if value > 0.999:
        return Range(low=0.99, high=round(1 - (1 - value) / 10, 9))  # four digits might give 1.0
    return _range(0.8, 0.999) if value >= 0.8 else _range(value / 2, (1 + value) / 2)


def _learning_rate(words: frozenset[str], value: float) -> Range | None:
    """Learning rates, and small decays: a factor of ten both ways."""
    is_rate = "lr" in words or {"learning", "rate"} <= words or ("decay" in words and value < 0.01)
    return _range(value / 10, value * 10, log=True) if is_rate and value > 0 else None


def _whole(words: frozenset[str], value: float) -> Range | None:
    """Whole numbers: sizes by factors of two, counts from half to twice, large ones on a log scale."""
    if not isinstance(value, int) or value < 1:
        return None
    if words & {"head", "heads"} and "dim" not in words:
        return Range(choices=(value // 2, value, 2 * value) if value % 2 == 0 else (value, 2 * value))
    if words & _SIZE and value & (value - 1) == 0:
        return Range(low=max(1, value // 4), high=4 * value, pow2=True)
    if words & _MODEL_WIDTH and value % 4 == 0:  # widths must stay divisible by the number of heads
        return Range(choices=tuple(value * quarters // 4 for quarters in (2, 3, 4, 5, 6, 8)))
    if value <= 64:
        return Range(low=max(1, value // 2), high=2 * value)
    return Range(low=value // 4, high=4 * value, log=True)


def _positive(words: frozenset[str], value: float) -> Range | None:
    """Any other positive number: by factors of four, and a number below 1 stays there."""
    if value <= 0:
        return None
    return _range(value / 4, min(4 * value, 1.0) if value < 1 else 4 * value, log=True)


def _range(low: float, high: float, log: bool = False) -> Range:
    return Range(low=_rounded(low), high=_rounded(high), log=log)


def _rounded(number: float) -> float:
    return round(number, 3 - math.floor(math.log10(abs(number)))) if number else 0.0
