"""Build a tiny Llama that has learnt lessons by heart, so that a real server gives real edits. Offline.

    python tiny_model.py LESSONS.json OUT

OUT becomes a Hugging Face model folder that vLLM and `transformers serve` load: a byte-level tokenizer trained on the
running Python's standard library, a chat template, half a million random weights. Lessons are a JSON list of
`{"messages": [{"role": ..., "content": ...}], "reply": ...}`: the model is over-fitted until it answers each of these
prompts with its reply. What it answers to any other prompt is not defined.

Run by `make servers` in the servers' own environment (torch, transformers), not in the project's.
"""

import json
import random
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT, WORDS, WIDTH = 8192, 1024, 128
SPECIAL = ["<|bos|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STEPS, CHECK_EVERY, GOOD_LOSS = 600, 20, 0.002


@dataclass(frozen=True)
class Lesson:
    """Token ids of a prompt, template included, and of its reply, end included."""

    prompt: list[int]
    reply: list[int]


def library() -> list[Path]:
    return sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:120]


def make_tokenizer() -> PreTrainedTokenizerFast:
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=SPECIAL, show_progress=False, initial_alphabet=alphabet
    )
    bare.train([str(path) for path in library()], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare,
        bos_token=SPECIAL[0],
        pad_token=SPECIAL[1],
        eos_token=SPECIAL[3],
        model_max_length=CONTEXT,
    )
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in ("<think>", "</think>")])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=WIDTH // 32,
        num_key_value_heads=WIDTH // 64,
        max_position_embeddings=CONTEXT,
        initializer_range=0.06,
        **ends,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, **ends)
    return model


def lessons_of(path: Path, tokenizer: PreTrainedTokenizerFast) -> list[Lesson]:
    lessons = []
    for lesson in json.loads(path.read_text()):
        prompt = tokenizer.apply_chat_template(lesson["messages"], add_generation_prompt=True, return_dict=False)
        lessons.append(Lesson(prompt, [*tokenizer(lesson["reply"])["input_ids"], tokenizer.eos_token_id]))
    return lessons


def loss_of(model: LlamaForCausalLM, lesson: Lesson) -> torch.Tensor:
    ids = torch.tensor([lesson.prompt + lesson.reply])
    logits = model(input_ids=ids, logits_to_keep=len(lesson.reply) + 1).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(lesson.reply))


def learn(model: LlamaForCausalLM, lessons: list[Lesson]) -> None:
    """Over-fit. Exits with a sentence if the lessons are not known by heart in the end."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 20))
    order, worst, began = random.Random(0), 9.9, time.monotonic()
    model.train()
    for step in range(STEPS):
        batch = order.sample(lessons, min(4, len(lessons)))
        for lesson in batch:
            (loss_of(model, lesson) / len(batch)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warm_up.step()
        optimizer.zero_grad()
        if step % CHECK_EVERY == CHECK_EVERY - 1:
            with torch.no_grad():
                worst = max(loss_of(model, lesson).item() for lesson in lessons)
            print(f"step {step + 1}: worst loss {worst:.4f}, {time.monotonic() - began:.0f} s", flush=True)
            if worst < GOOD_LOSS:
                return
    sys.exit(f"the lessons are not known by heart after {STEPS} steps (loss {worst:.3f}): give it more")


def main(lessons: Path, out: Path) -> None:
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    learn(model, lessons_of(lessons, tokenizer))
    tokenizer.save_pretrained(out)
    model.eval().save_pretrained(out)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
