"""Train a small GPT-NeoX from scratch on documents: how the lab's target and reference models are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from benchmark.corpus import Document

END = "<|endoftext|>"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a lab model besides its documents."""

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    vocabulary: int = 1024
    context: int = 128
    epochs: int = 18
    batch: int = 24
    """Windows an optimiser step."""
    lr: float = 3e-3
    """Peak of a cosine schedule with a 5 % linear warm-up."""
    weight_decay: float = 0.1
    seed: int = 0


def train_tokenizer(documents: Sequence[Document], recipe: Recipe) -> PreTrainedTokenizerFast:
    """A byte-level BPE over the documents."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((document.text for document in documents), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe, bos_token=END, eos_token=END, unk_token=END, model_max_length=recipe.context
    )


def new_model(recipe: Recipe) -> GPTNeoXForCausalLM:
    """An untrained model; its weights depend on the seed alone."""
    torch.manual_seed(recipe.seed)
    config = GPTNeoXConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=4 * recipe.hidden,
        max_position_embeddings=recipe.context,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPTNeoXForCausalLM(config)


def train_model(
    documents: Sequence[Document],
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> GPTNeoXForCausalLM:
    """Train from scratch; `progress(step, steps, loss)` is called after every optimiser step.

    Each epoch packs the documents, in a new order and from a new offset, into windows of the context length.
    """
    model = new_model(recipe)
    model.train()
    generator = torch.Generator().manual_seed(recipe.seed)
    encoded = [torch.tensor([0, *tokenizer(document.text, verbose=False)["input_ids"]]) for document in documents]
    steps = recipe.epochs * (sum(map(len, encoded)) // (recipe.context * recipe.batch))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    other = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": other, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.95))
    batches = _batches(encoded, recipe, generator)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * _schedule(step, steps)
        ids = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        progress(step + 1, steps, loss.item())
    model.train(False)
    return model


def _schedule(step: int, steps: int) -> float:
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _batches(encoded: Sequence[Tensor], recipe: Recipe, generator: torch.Generator) -> Iterator[Tensor]:
    windows = torch.empty(0, recipe.context, dtype=torch.long)
    while True:
        while len(windows) < recipe.batch:
            order = torch.randperm(len(encoded), generator=generator).tolist()
            offset = int(torch.randint(recipe.context, (1,), generator=generator))
            stream = torch.cat([encoded[index] for index in order])[offset:]
            whole = len(stream) // recipe.context * recipe.context
            fresh = stream[:whole].view(-1, recipe.context)
            windows = torch.cat([windows, fresh[torch.randperm(len(fresh), generator=generator)]])
        yield windows[: recipe.batch]
        windows = windows[recipe.batch :]
