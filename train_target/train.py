"""
A small GPT on bytes, trained for a fixed budget: the file that the agent edits. One file, any machine.
Run it:  python train.py            (it finds its data through prepare.py, or in the folder AGENT_DATA)

It leaves its weights in out/model.pt and says how training goes. It does not measure itself: answer.py rebuilds the
model with build_model(), and judge.py, which never meets this code, computes the number that counts.
"""

import math
import os
import resource
import sys
import time
from pathlib import Path

if __name__ == "__main__":  # threads that spin while they wait slow all trials on a busy machine manyfold
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is loaded

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

# ----------------------------------------------------------------------------------------------------------------------
# Knobs (edit these; every one is a plain literal, and target.toml says how far it may go)

# model
DEPTH = 4                # transformer blocks
WIDTH = 128              # channels of the residual stream, rounded up to a multiple of HEAD_DIM
HEAD_DIM = 64            # channels of one attention head
MLP_RATIO = 4.0          # hidden channels of the MLP, as a multiple of the width
ACTIVATION = "gelu"      # nonlinearity of the MLP: "gelu", "silu" or "relu2" (squared ReLU)
ROPE_BASE = 10000.0      # longest wavelength of the rotary embedding, about 2 pi times this many positions

# optimization
BATCH_SIZE = 8           # rows of one step
SEQ_LEN = 256            # tokens of one row (the judge asks for 256)
MATRIX_LR = 0.02         # Muon: all matrices inside the blocks
EMBED_LR = 0.003         # AdamW: the token embedding
HEAD_LR = 0.001          # AdamW: the output head
MOMENTUM = 0.95          # Muon
WEIGHT_DECAY = 0.1       # decoupled, matrices only
WARMUP_FRAC = 0.05       # share of the budget in which the learning rate rises from 0
WARMDOWN_FRAC = 0.2      # share of the budget in which it falls
FINAL_LR_FRAC = 0.1      # what is left of it at the end

# ----------------------------------------------------------------------------------------------------------------------
# The machine: the same knobs everywhere, but a GPU gets a wider model and more rows

VOCAB_SIZE = 256         # bytes; fixed by prepare.py, the judge expects as many logits
JUDGE_BATCH = 64, 256    # rows and tokens that answer.py asks for at a time

def find_device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

def bf16_is_fast(device):
    """Whether to train in bfloat16: a processor without instructions for it is faster in float32."""
    found = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cuda" or any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))

def scale():
    """How many times wider than on a CPU the model is; a step takes scale^2 times the rows."""
    return 6 if torch.cuda.is_available() else 1

# ----------------------------------------------------------------------------------------------------------------------
# The model

def norm(x):
    return F.rms_norm(x, (x.size(-1),))

def activate(x):
    return F.relu(x).square() if ACTIVATION == "relu2" else getattr(F, ACTIVATION)(x)

def rotary(length, device):
    """Angles of every position: cos and sin, each [length, HEAD_DIM / 2]."""
    frequency = ROPE_BASE ** -torch.linspace(0, 1, HEAD_DIM // 2, device=device)
    angle = torch.outer(torch.arange(length, device=device, dtype=torch.float32), frequency)
    return angle.cos(), angle.sin()

def rotate(x, cos, sin):
    """Turn the channel pairs of x [B, heads, T, HEAD_DIM] by their position's angles."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).type_as(x)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        hidden = max(1, round(MLP_RATIO * width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        x = x + self.attend(norm(x), cos, sin)
        return x + self.down(activate(self.up(norm(x))))

    def attend(self, x, cos, sin):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, -1, HEAD_DIM).permute(2, 0, 3, 1, 4)  # each [B, heads, T, HEAD_DIM]
        q, k = rotate(norm(q), cos, sin), rotate(norm(k), cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(B, T, C))


class GPT(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.head = nn.Linear(width, VOCAB_SIZE, bias=False)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self):
        """Unit embedding, uniform inputs of variance 1 / width, zero outputs: every block starts as the identity."""
        nn.init.normal_(self.embed.weight)
        nn.init.zeros_(self.head.weight)
        for block in self.blocks:
            for linear in (block.qkv, block.up):
                bound = math.sqrt(3 / linear.in_features)
                nn.init.uniform_(linear.weight, -bound, bound)
            nn.init.zeros_(block.proj.weight)
            nn.init.zeros_(block.down.weight)

    def forward(self, tokens):
        """Tokens int64 [B, T], T of any length -> logits float32 [B, T, VOCAB_SIZE]."""
        cos, sin = rotary(tokens.size(1), tokens.device)
        x = norm(self.embed(tokens))
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.head(norm(x)).float()


def build_model():
    """The model of the knobs above, freshly initialized. Needs no data and no environment: answer.py calls it too."""
    heads = math.ceil(WIDTH * scale() / HEAD_DIM)
    return GPT(DEPTH, heads * HEAD_DIM)

# ----------------------------------------------------------------------------------------------------------------------
# Optimizers: Muon for the matrices, AdamW for the rest

def build_optimizers(model):
    width_lr = (model.embed.embedding_dim / 128) ** -0.5  # Adam's steps shrink with the width; Muon's need not
    adam = torch.optim.AdamW([
        {"params": [model.embed.weight], "lr": EMBED_LR * width_lr},
        {"params": [model.head.weight], "lr": HEAD_LR * width_lr},
    ], betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=True)
    muon = torch.optim.Muon(model.blocks.parameters(), lr=MATRIX_LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    for optimizer in (adam, muon):
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return adam, muon

def lr_factor(progress):
    """Up, flat, down: a trapezoid over the progress (0 to 1) of the budget."""
    up = progress / WARMUP_FRAC if progress < WARMUP_FRAC else 1.0
    left = 1.0 - progress
    down = left / WARMDOWN_FRAC if left < WARMDOWN_FRAC else 1.0
    return up * (FINAL_LR_FRAC + (1.0 - FINAL_LR_FRAC) * down)

# ----------------------------------------------------------------------------------------------------------------------
# Data and budget

def load_data(device):
    """The training text as one uint8 tensor on the device."""
    folder = os.environ.get("AGENT_DATA")
    if folder is None:
        import prepare
        folder = prepare.standard_library().train
    return torch.from_numpy(np.memmap(Path(folder) / "train.bin", dtype=np.uint8, mode="c")).to(device)

def sample(data, rows, length, generator):
    """Random windows of the text: inputs and targets, int64 [rows, length]."""
    start = torch.randint(len(data) - length, (rows, 1), generator=generator, device=data.device)
    window = data[start + torch.arange(length + 1, device=data.device)].long()
    return window[:, :-1], window[:, 1:]


class Budget:
    """So many seconds, or exactly so many tokens where AGENT_TRAIN_TOKENS is set."""

    def __init__(self, device):
        self.tokens = int(os.environ.get("AGENT_TRAIN_TOKENS", 0))
        self.seconds = float(os.environ.get("AGENT_TRAIN_SECONDS", 300 if device.type == "cuda" else 30))
        self.start, self.used = time.monotonic(), 0

    def elapsed(self):
        return time.monotonic() - self.start

    def progress(self):
        return min(1.0, self.used / self.tokens if self.tokens else self.elapsed() / self.seconds)

    def shape(self, rows):
        """Rows and length of the next batch: the last one of a token budget is cut to fit."""
        left = self.tokens - self.used if self.tokens else rows * SEQ_LEN
        return max(1, min(rows, left // SEQ_LEN)), min(SEQ_LEN, left)

# ----------------------------------------------------------------------------------------------------------------------
# Training

def main():
    device = find_device()
    seed = int(os.environ.get("AGENT_SEED", 0))
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    generator = torch.Generator(device).manual_seed(seed)
    data = load_data(device)
    rows = BATCH_SIZE * scale() ** 2
    if len(data) <= SEQ_LEN:
        sys.exit(f"the training text has {len(data)} bytes: too few for SEQ_LEN = {SEQ_LEN}")

    model = build_model().to(device)
    forward = torch.compile(model, dynamic=False) if device.type == "cuda" else model
    bf16 = bf16_is_fast(device)

    def loss_and_gradient(inputs, targets):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = forward(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        return loss.item()

    loss = smoke_step(model, loss_and_gradient, lambda *shape: sample(data, *shape, generator), rows)
    generator.manual_seed(seed)  # the training sees the same batches with and without a smoke step
    optimizers = build_optimizers(model)

    budget, step, printed = Budget(device), 0, 0.0
    say(step, budget, loss)
    while budget.progress() < 1.0:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * lr_factor(budget.progress())
        inputs, targets = sample(data, *budget.shape(rows), generator)
        loss = loss_and_gradient(inputs, targets)
        if not math.isfinite(loss):
            sys.exit(f"loss is {loss} at step {step}")
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step, budget.used = step + 1, budget.used + targets.numel()
        if budget.elapsed() - printed > 0.1:
            say(step, budget, loss)
            printed = budget.elapsed()
    say(step, budget, loss)

    seconds = budget.elapsed()
    Path("out").mkdir(exist_ok=True)
    torch.save({name: tensor.cpu() for name, tensor in model.state_dict().items()}, "out/model.pt")
    report(model, step, budget.used, seconds)

def smoke_step(model, loss_and_gradient, batch, rows):
    """Before the clock starts: two full steps at rate 0, and a batch as large as the judge's. This compiles, and meets a
    lack of memory within seconds; it changes nothing, and its optimizers are thrown away."""
    print("smoke step", flush=True)
    optimizers = build_optimizers(model)
    for _ in range(2):
        loss = loss_and_gradient(*batch(rows, SEQ_LEN))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 0.0
            optimizer.step()
            optimizer.zero_grad()
    with torch.inference_mode():
        model(batch(*JUDGE_BATCH)[0])
    return loss

def say(step, budget, loss):
    print(f"step {step:05d} | progress {100 * budget.progress():.1f}% | loss {loss:.4f} | {budget.elapsed():.2f} s", flush=True)

def report(model, steps, tokens, seconds):
    """For the reader only: nothing here is measured on validation text, and the agent believes none of it."""
    gpu = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() if gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("---")
    print(f"parameters:    {sum(p.numel() for p in model.parameters()):,}")
    print(f"steps:         {steps:,}")
    print(f"tokens:        {tokens:,}")
    print(f"tokens/s:      {tokens / seconds:,.0f}")
    print(f"seconds:       {seconds:.1f}")
    print(f"peak memory:   {peak / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
