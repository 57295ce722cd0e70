"""Ranges are guessed from name and value; what must not be searched is left alone with a reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.infer import infer
from agent.knobs import Range, knob
from agent.nouns import Value


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MATRIX_LR", 0.02, Range(low=0.002, high=0.2, log=True)),
        ("learning_rate", 3e-4, Range(low=3e-5, high=0.003, log=True)),
        ("lr", 1, Range(low=0.1, high=10.0, log=True)),
        ("DROPOUT", 0.0, Range(low=0.0, high=0.5)),
        ("dropout", 0, Range(low=0.0, high=0.5)),
        ("WARMUP_RATIO", 0.0, Range(low=0.0, high=0.3)),
        ("FINAL_LR_FRAC", 0.1, Range(low=0.0, high=0.3)),
        ("WARMDOWN_RATIO", 0.8, Range(low=0.6, high=1.0)),
        ("FRAC", 1.0, Range(low=0.7, high=1.0)),
        ("WEIGHT_DECAY", 0.2, Range(low=0.0, high=0.4)),
        ("weight_decay", 1e-4, Range(low=1e-5, high=1e-3, log=True)),
        ("MOMENTUM", 0.9, Range(low=0.8, high=0.999)),
        ("beta2", 0.95, Range(low=0.8, high=0.999)),
        ("ADAM_BETA2", 0.9995, Range(low=0.99, high=0.99995)),
        ("beta1", 0.5, Range(low=0.25, high=0.75)),
        ("EMA_DECAY", 0.999, Range(low=0.8, high=0.999)),
        ("BATCH_SIZE", 32, Range(low=8, high=128, pow2=True)),
        ("DEVICE_BATCH_SIZE", 2, Range(low=1, high=8, pow2=True)),
        ("HEAD_DIM", 64, Range(low=16, high=256, pow2=True)),
        ("n_embd", 384, Range(choices=(192, 288, 384, 480, 576, 768))),
        ("n_head", 6, Range(choices=(3, 6, 12))),
        ("NUM_HEADS", 3, Range(choices=(3, 6))),
        ("DEPTH", 7, Range(low=3, high=14)),
        ("n_layer", 1, Range(low=1, high=2)),
        ("ASPECT_RATIO", 48, Range(low=24, high=96)),
        ("WARMUP_STEPS", 100, Range(low=25, high=400, log=True)),
        ("GRAD_CLIP", 1.0, Range(low=0.25, high=4.0, log=True)),
        ("INIT_STD", 0.02, Range(low=0.005, high=0.08, log=True)),
        ("ALPHA", 0.7, Range(low=0.175, high=1.0, log=True)),
        ("USE_NORM", False, Range(choices=(False, True))),
        ("bias", True, Range(choices=(False, True))),
    ],
)
def test_ranges(name: str, value: Value, expected: Range):
    assert infer(name, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("SEED", 1337, "seed"),
        ("EVAL_BATCH_SIZE", 8, "evaluation"),
        ("VAL_FRACTION", 0.1, "evaluation"),
        ("LOG_EVERY", 10, "logging"),
        ("SAVE_INTERVAL", 10, "logging"),
        ("TIME_BUDGET", 300, "time"),
        ("MAX_SECONDS", 60.0, "time"),
        ("VOCAB_SIZE", 8192, "data"),
        ("NUM_WORKERS", 4, "machine"),
        ("DEVICE_ID", 0, "machine"),
        ("GPU_PEAK_FLOPS", 1e14, "hardware"),
        ("DATA_DIR", "/data", "place"),
        ("BASE_URL", "http://x", "place"),
        ("PORT", 29500, "place"),
        ("MAX_SEQ_LEN", 512, "length"),
        ("block_size", 512, "hyperparameter"),
        ("MAX_STEPS", 1000, "amount of training"),
        ("NUM_EPOCHS", 3, "amount of training"),
        ("ADAM_EPS", 1e-8, "guard"),
        ("DEBUG", True, "switch"),
        ("OPTIMIZER", "adamw", "declare choices"),
        ("BETAS", (0.9, 0.95), "declare choices"),
        ("SHIFT", -1.5, "declare a range"),
        ("OFFSET", 0, "declare a range"),
        ("MIN_LR", 0.0, "declare a range"),
        ("step", 0, "hyperparameter"),
        ("best_loss", 1e9, "hyperparameter"),
        ("Threshold", 3.0, "hyperparameter"),
    ],
)
def test_left_alone_with_a_reason(name: str, value: Value, word: str):
    reason = infer(name, value)
    assert isinstance(reason, str) and word in reason


NUMBERS = st.one_of(
    st.integers(), st.integers(0, 5000), st.floats(0, 1), st.floats(allow_nan=False, allow_infinity=False)
)
NAMES = ("MATRIX_LR", "DROPOUT", "X_RATIO", "WEIGHT_DECAY", "BETA", "BATCH", "HIDDEN", "N_HEADS", "DEPTH", "SCALE")


@given(st.sampled_from(NAMES), NUMBERS)
@settings(max_examples=500, deadline=None)
def test_an_inferred_range_makes_a_knob_around_the_own_value(name: str, value: float):
    found = infer(name, value)
    if isinstance(found, str):
        return
    made = knob(name, "train.py", value, found, inferred=True)
    assert made.note == ""
    for x in (0.0, 0.3, 1.0):
        assert made.contains(made.decode(x))
