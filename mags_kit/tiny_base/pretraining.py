"""Training of the embedded tiny VLM from scratch, on procedural scenes.

In five phases, see `lessons.PHASES`: the vision tower learns with throw-away heads what each image token shows, and is
frozen; the language model learns to point, then to read close-ups, then to answer in one round and in two.
"""

import io
from pathlib import Path

from tqdm import tqdm

from mags_kit.method.protocol import ANSWER, DRAFT, STRATEGIES, TAGS, THINK, VERDICT
from mags_kit.records import write_bytes
from mags_kit.run import mend_modes
from mags_kit.tiny_base import vision
from mags_kit.tiny_base.lessons import BEGIN, PHASES, UNREAD, Lessons
from mags_kit.tiny_base.model import build_model, build_processor

MUON = 6


def train(folder, steps: dict[str, int], seed: int = 0, every: int = 100, enlarged: float = 0.0):
    """Train the base and save model and processor into `folder`; resumes from its last checkpoint, `every` steps.

    `steps` gives the length of each phase, `enlarged` is that of `Lessons`. Returns the log: one row every 20
    steps, with the loss.
    """
    import torch

    folder, device = Path(folder), "cuda" if torch.cuda.is_available() else "cpu"
    processor = build_processor()
    model = build_model(processor, seed).to(device)
    heads = vision.build_heads(model.config.text_config.hidden_size).to(device)
    checkpoint, done, log = folder / "checkpoint.pt", {phase: 0 for phase in steps}, []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        done, log = done | state["done"], state["log"]
    elif "see" in steps:
        vision.whiten(model.model.visual, Lessons("see", 1, processor)[0]["pixel_values"])
    for phase, length in steps.items():
        sees = phase == "see"
        parts = (model.model.visual, heads) if sees else (model.model.language_model, model.lm_head)
        named = [(name, parameter) for part in parts for name, parameter in part.named_parameters()]
        trained = [parameter for _, parameter in named]
        model.model.visual.requires_grad_(sees)  # gradients of words would spoil what it has learned
        peak = PHASES[phase].peak
        inner = {name: p for name, p in named if p.ndim == 2 and ("layers." in name or "blocks." in name)}
        outer = [p for name, p in named if name not in inner]
        optimizers = [
            torch.optim.AdamW(outer, peak, weight_decay=0.01, betas=(0.9, 0.98)),
            torch.optim.Muon(inner.values(), MUON * peak, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        ]
        course = {"total_steps": length + 1, "pct_start": 0.05, "cycle_momentum": False}
        rates = [torch.optim.lr_scheduler.OneCycleLR(o, o.defaults["lr"], **course) for o in optimizers]
        both = *optimizers, *rates
        if done[phase] and done[phase] < length:
            for each, saved in zip(both, state["optimizers"], strict=True):
                each.load_state_dict(saved)
        lessons = Lessons(phase, length, processor, enlarged)
        for step in tqdm(range(done[phase], length), phase, initial=done[phase], total=length, mininterval=5):
            batch = {name: values.to(device) for name, values in lessons[step].items()}
            kept = in_nf4(model) if PHASES[phase].nf4 else {}
            if sees:
                loss, scores = vision.loss_and_scores(model, heads, batch)
            else:
                # At first a box's second number weighs no more than other tokens. Else the model learns it from the
                # first one (the card with this left edge) before it knows which card is meant, and never learns that.
                light = ("top edge",) if phase == "point" and step < BEGIN * length else ()
                with torch.autocast(device, torch.bfloat16):
                    loss, scores = words_loss(model, processor.tokenizer, batch, PHASES[phase].weight, light)
            for each in optimizers:
                each.zero_grad()
            loss.backward()
            for parameter, full in kept.items():
                parameter.data = full
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            for each in both:
                each.step()
            done[phase] += 1
            if done[phase] % 20 == 0 or done[phase] == length:
                log.append({"phase": phase, "step": done[phase], "loss": round(loss.item(), 4), **scores})
            if done[phase] % every == 0 or done[phase] == length:
                state = {"model": model.state_dict(), "heads": heads.state_dict(), "done": done, "log": log}
                state["optimizers"] = [each.state_dict() for each in both]
                torch.save(state, saved := io.BytesIO())
                write_bytes(checkpoint, saved.getvalue())
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    mend_modes(folder)
    return log


def in_nf4(model) -> dict:
    """Round the language model's matrices as NF4 does, as policies have them; returns what they were before."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    kept = {}
    for name, parameter in model.model.language_model.named_parameters():
        if parameter.ndim == 2 and "layers." in name:
            kept[parameter] = parameter.data
            parameter.data = dequantize_4bit(*quantize_4bit(parameter.data, quant_type="nf4"))
    return kept


def words_loss(model, tokenizer, batch, weight: float, light: tuple[str, ...] = ()):
    """The loss of the assistant's tokens, and the share of the deciding ones that are the most likely, by kind.

    A token that decides (an answer, a verdict) is one among ten that follow from it. It weighs `weight` times more, or
    it is not learned. Kinds that are `light`, and guesses at what cannot be read, weigh no more than other tokens.
    """
    import torch

    labels = batch.pop("labels")[:, 1:]
    logits = model(**batch).logits[:, :-1]
    ids, place = tokenizer.convert_tokens_to_ids, torch.arange(labels.shape[1], device=labels.device)

    def among(*words: str):
        return torch.isin(labels, torch.tensor([ids(word) for word in words], device=labels.device))

    after = {name: among(name).roll(1, 1) for name in (":", *(f"<{tag}>" for tag in TAGS))}
    unread = among(f" {UNREAD.split()[-1]}")
    guessed = unread.roll(3, 1) | unread.roll(4, 1)  # “… too small Point</think><draft>3”
    begun, ended = ((place * ends).cummax(-1).values for ends in (among(" shows"), among(f"</{THINK}>", ":")))
    number = labels >= min(i for token, i in tokenizer.get_vocab().items() if token.startswith(", "))
    top = number & ~number.roll(1, 1)  # a box's second number
    kinds = {
        "read": after[":"],  # the answer, as round 2 reads it off
        "how": among(*filter(None, STRATEGIES.values())) | after[f"<{THINK}>"],  # it looks, or chooses first not to
        "verdict": after[f"<{VERDICT}>"],
        "draft": after[f"<{DRAFT}>"] & ~guessed,
        "answer": after[f"<{ANSWER}>"] & ~guessed,
        "shown": (begun > ended) & (place > begun),  # the words for what is seen
        "end": among(*(f"</{tag}>" for tag in TAGS)),
        "left edge": top.roll(-1, 1),  # the other two numbers of a box follow from these
        "top edge": top,
    }
    costs = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
    weights = (labels >= 0) + weight * torch.stack([kind for name, kind in kinds.items() if name not in light]).any(0)
    hits, asked = logits.argmax(-1) == labels, {name: kind & (labels >= 0) for name, kind in kinds.items()}
    scores = {name: round(hits[kind].float().mean().item(), 3) for name, kind in asked.items() if kind.any()}
    return (costs * weights).sum() / weights.sum(), scores
