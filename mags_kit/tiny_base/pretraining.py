"""Training the embedded tiny VLM from scratch, on procedural scenes.

It plays the part that Qwen2.5-VL-Instruct plays in the paper. Five phases, see `lessons.PHASES`: the vision tower
learns with throw-away heads what each image token shows, and is frozen; the language model learns to point, then to
read close-ups, then to answer in one round and in two, in two phases.
"""

import io
from pathlib import Path

from tqdm import tqdm

from mags_kit.method.features import remember
from mags_kit.method.protocol import ANSWER, DRAFT, TAGS, THINK, VERDICT
from mags_kit.records import write_bytes
from mags_kit.run import mend_modes
from mags_kit.tiny_base import vision
from mags_kit.tiny_base.lessons import PHASES, UNREAD, Lessons
from mags_kit.tiny_base.model import build_model, build_processor

# Share of `point` in which a box's second number weighs no more than other tokens. Else it is learned from the first
# number, as the card that has this left edge, before it is learned which card is meant, which then is not learned.
WHICH = 0.6


def train(folder, steps: dict[str, int], seed: int = 0, every: int = 100):
    """Train the base from nothing and save model and processor into `folder`; resumes from its last checkpoint.

    `steps` gives the length of each phase. Returns the log: one row every 20 steps, with the loss.
    """
    import torch
    from torch.utils.data import DataLoader, Subset

    folder, device = Path(folder), "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))  # the loader wants a core: on two, steps of `see` took 0.57 s, not 0.88
    processor, model, heads = _begun(seed, device, "see" in steps)
    checkpoint, done, log = folder / "checkpoint.pt", {phase: 0 for phase in steps}, []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        done, log = done | state["done"], state["log"]
    for phase, length in steps.items():
        trained = _parts(model, heads, phase)
        model.model.visual.requires_grad_(phase == "see")  # gradients of words would spoil what it has learned
        if phase != "see" and "forward" not in vars(model.model.visual):
            remember(model.model.visual)  # questions share first views
        peak = PHASES[phase].peak
        optimizer = torch.optim.AdamW(trained, lr=peak, weight_decay=0.01, betas=(0.9, 0.98))
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=length + 1, pct_start=0.05)
        if done[phase] and done[phase] < length:
            optimizer.load_state_dict(state["optimizer"])
            scheduler.load_state_dict(state["scheduler"])
        lessons = Subset(Lessons(phase, length, processor), range(done[phase], length))
        loader = DataLoader(lessons, batch_size=None, num_workers=1, prefetch_factor=4)
        for batch in tqdm(loader, desc=phase, initial=done[phase], total=length, mininterval=5):
            batch = {k: v.to(device) for k, v in batch.items()}
            if phase == "see":
                loss, scores = vision.loss_and_scores(model, heads, batch)
            else:
                light = ("top edge",) if phase == "point" and done[phase] < WHICH * length else ()
                loss, scores = words_loss(model, processor.tokenizer, batch, PHASES[phase].weight, light)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            scheduler.step()
            done[phase] += 1
            if done[phase] % 20 == 0 or done[phase] == length:
                log.append({"phase": phase, "step": done[phase], "loss": round(loss.item(), 4), **scores})
            if done[phase] % every == 0 or done[phase] == length:
                state = {"model": model.state_dict(), "heads": heads.state_dict(), "done": done, "log": log}
                state |= {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
                write_bytes(checkpoint, _saved(state))
    torch.set_num_threads(threads)
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    mend_modes(folder)
    return log


def _begun(seed: int, device: str, sees: bool) -> tuple:
    """Processor, model and heads before the first step."""
    processor = build_processor()
    model = build_model(processor, seed).to(device)
    heads = vision.build_heads(model.config.text_config.hidden_size).to(device)
    vision.hasten(model.model.visual)
    if sees:
        vision.whiten(model.model.visual, Lessons("see", 1, processor)[0]["pixel_values"])
    return processor, model, heads


def _parts(model, heads, phase: str) -> list:
    """What a phase trains: the vision tower with the heads, or the language model."""
    if phase == "see":
        return [*model.model.visual.parameters(), *heads.parameters()]
    return [*model.model.language_model.parameters(), *model.lm_head.parameters()]


def words_loss(model, tokenizer, batch, weight: float, light: tuple[str, ...] = ()):
    """The loss of the assistant's tokens, and the share of some that are the most likely ones.

    An answer, one token among ten, weighs as much as all the others: a true-or-false question is decided by comparing
    two words, and without the weight that was not learned. So do a box's first two numbers, from which the others
    follow, the rationale's first word, which says how it will look, the words for what is seen, the draft, the
    answer that round 2 reads off, the verdict on the draft, and what closes each of them. `weight` says by how much.
    What is `light` weighs no more than other tokens, nor does a guess at what can't be read.
    """
    import torch

    labels = batch.pop("labels")[:, 1:]
    logits = model(**batch).logits[:, :-1]
    ids, place = tokenizer.convert_tokens_to_ids, torch.arange(labels.shape[1], device=labels.device)

    def among(*words: str):
        return torch.isin(labels, torch.tensor([ids(word) for word in words], device=labels.device))

    leads = {
        "read": ":",
        "how": f"<{THINK}>",
        "verdict": f"<{VERDICT}>",
        "draft": f"<{DRAFT}>",
        "answer": f"<{ANSWER}>",
    }
    kinds = {name: among(lead).roll(1, 1) for name, lead in leads.items()}
    guessed = among(f" {UNREAD.split()[-1]}").roll(3, 1)  # “… too small</think><draft>3”
    kinds |= {name: kinds[name] & ~guessed for name in (DRAFT, ANSWER)}
    begun, ended = ((place * ends).cummax(-1).values for ends in (among(" shows"), among(f"</{THINK}>", ":")))
    kinds |= {"shown": (begun > ended) & (place > begun), "end": among(*(f"</{tag}>" for tag in TAGS))}
    number = labels >= min(i for token, i in tokenizer.get_vocab().items() if token.startswith(", "))
    costs = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none"
    )
    top = number & ~number.roll(1, 1)  # a box's second number
    kinds |= {"left edge": top.roll(-1, 1), "top edge": top}
    weights = (labels >= 0) + weight * torch.stack([kinds[name] for name in kinds if name not in light]).any(0)
    hits, asked = logits.argmax(-1) == labels, {name: kind & (labels >= 0) for name, kind in kinds.items()}
    scores = {name: round(hits[kind].float().mean().item(), 3) for name, kind in asked.items() if kind.any()}
    return (costs * weights.flatten()).sum() / weights.sum(), scores


def _saved(state: dict) -> bytes:
    import torch

    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()
