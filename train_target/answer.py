"""The answering stub: asks a trained model the questions, and writes its logits for the judge.

It runs in a jail of its own, in a fresh folder that holds the edited train.py and the checkpoint model.pt, with
the questions: rows of tokens. The answers stay outside, with the judge: the token after each row's end, which rows
are probes, and where those begin to differ. The token after every other position is the next one of its own row, so
the model could look, and what keeps it from that is the judge's probes, not this file. Nothing that is learnt here
gets back to a training: the folder is made for one answer and removed.

Once the edited train.py is imported nothing here can be trusted, and nothing is: the judge reads plain numbers and
normalises them itself. Until then the folder is kept off the import path, so that a numpy.py or torch.py lying there
cannot stand in for the real one.

    python answer.py [QUESTIONS_DIR]        (default: the folder AGENT_QUESTIONS, or ./questions)

Writes out/logits.npy: float32 [rows, T, vocabulary], one row for every row of QUESTIONS_DIR/inputs.npy.
"""

import sys

if not sys.flags.safe_path:
    sys.path.pop(0)  # the script's folder: nothing is imported from it before the real numpy and torch are

import importlib.util
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

BATCH_ROWS = 64


def load_checkpoint(path: Path, device: torch.device) -> dict[str, torch.Tensor]:
    """Read the weights, and nothing but weights: a checkpoint with any other object in it is refused."""
    try:
        return torch.load(path, weights_only=True, map_location=device)
    except FileNotFoundError:
        sys.exit(f"{path} is missing: train.py has to leave its weights in out/model.pt")
    except pickle.UnpicklingError:
        sys.exit(f"{path} is refused: it must hold model.state_dict(), tensors by name, and nothing else")
    except (RuntimeError, EOFError) as error:
        sys.exit(f"{path} cannot be read: {error}")


def import_edited(path: Path) -> ModuleType:
    """Import the edited file as `train`; its folder comes last on the import path, for helpers beside it."""
    sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location("train", path)
    if spec is None or spec.loader is None:
        sys.exit(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["train"] = module
    spec.loader.exec_module(module)
    return module


def answers(model: torch.nn.Module, inputs: np.ndarray, device: torch.device) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, logits float32 [rows, T, V]) batch by batch; halve the batch when memory runs out."""
    row, batch = 0, BATCH_ROWS
    while row < len(inputs):
        tokens = torch.from_numpy(inputs[row : row + batch].astype(np.int64))
        try:
            logits = model(tokens.to(device)).float().cpu().numpy()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if batch == 1 or not out_of_memory(error):
                raise
            batch //= 2
            print(f"out of memory: going on with {batch} rows at a time", file=sys.stderr)
            torch.cuda.empty_cache()
            continue
        yield row, logits
        row += len(tokens)


def out_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory from other failures; on a CPU torch has no exception of its own for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


@torch.inference_mode()
def main() -> None:
    """Answer every row of the questions."""
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AGENT_QUESTIONS", "questions")
    inputs = np.load(Path(folder) / "inputs.npy", allow_pickle=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = load_checkpoint(Path("model.pt"), device)
    model = import_edited(Path.cwd() / "train.py").build_model().to(device)
    model.load_state_dict(state, strict=True)
    model.eval()
    Path("out").mkdir(exist_ok=True)
    written = None
    for row, logits in answers(model, inputs, device):
        if written is None:
            shape = (len(inputs), *logits.shape[1:])
            written = np.lib.format.open_memmap("out/logits.npy", mode="w+", dtype="<f4", shape=shape)
        written[row : row + len(logits)] = logits


if __name__ == "__main__":
    main()
