"""The embedded tiny VLM: a Qwen3-VL of about 3 million parameters, trained from scratch on procedural scenes.

It plays the part that Qwen2.5-VL-Instruct plays in the paper. Six phases: the vision tower learns with throw-away
heads what each image token shows, and is frozen; the language model learns to point, then to read close-ups, then to
answer in one round and in two, in three phases.
Its two-round demonstrations often choose a poor region, on purpose, so that RL has something to bring out.
"""

import math
from pathlib import Path

from mags_kit import protocol, scenes, seeing
from mags_kit.lessons import BATCH, CLOSE, LOOSE, SEEN_AGAIN, Lessons
from mags_kit.seeing import GRID, VIEW

# step sizes at their highest
PEAKS = {"see": 2e-3, "point": 3e-3, "look": 3e-3, "answer": 2e-3, "settle": 1.5e-3, "aim": 2e-3}
CHOICE_WEIGHT = 8  # of a token that decides: the answer, a box's first number, a rationale's first word, the verdict
WORDS = (
    "What symbol is on the? How many dots are on the? The dot is left right above below of True? Point at "
    "Look twice. Answer now. yes no 1 2 3 4 so the draft was right wrong view shows no , : it "
)


def build_processor():
    """A processor with a word-level tokenizer: every word of the scenes, their numbers, and the protocol's marks."""
    from mags_kit.compat import import_torchvision

    import_torchvision()
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    pattern = r", \d+| ?[A-Za-z]+| ?\d+|[^\sA-Za-z0-9]|\s"
    special = ["<|pad|>", "<|unk|>", "<|im_start|>", "<|im_end|>", *protocol.VISION_TOKENS]
    head, tail = protocol.tool_call_text([["#"]]).split("#")
    marks = [
        f"<{slash}{tag}>" for tag in ("think", "draft", "rethink", "answer", "tool_response") for slash in ("", "/")
    ]
    chunks = [*marks, "user\n", "assistant\n", head, tail, "], [", protocol.NO_VIEW]
    words = WORDS.split() + [w for c in (*scenes.COLOURS, *scenes.SHAPES, *scenes.SYMBOLS, *scenes.TONES) for w in [c]]
    splitter = pre_tokenizers.Split(Regex(pattern), "isolated")
    pieces = [p for w in words for text in (w, " " + w) for p, _ in splitter.pre_tokenize_str(text)]
    numbers = [f"{lead}{n}" for lead in ("", ", ") for n in range(0, 1001, GRID)]
    vocabulary = list(dict.fromkeys([*special, *chunks, *pieces, *numbers]))
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens([AddedToken(c, special=False, normalized=False) for c in chunks])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", unk_token="<|unk|>", eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", *protocol.VISION_TOKENS], padding_side="left",
    )  # fmt: skip
    tokenizer.response_template = protocol.RESPONSE_TEMPLATE
    sizes = {"size": {"shortest_edge": 32 * 32, "longest_edge": VIEW * VIEW}, "patch_size": 16}
    halves = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return Qwen3VLProcessor(
        Qwen2VLImageProcessor(**sizes, **halves), tokenizer, Qwen3VLVideoProcessor(**halves), protocol.COMPACT_TEMPLATE
    )


def build_model(processor, seed: int = 0):
    """The untrained model, float32. Matrices start at a deviation of 1/sqrt(fan_in): 0.02 is too small here."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = processor.tokenizer
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 160, "intermediate_size": 432, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 40, "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [8, 6, 6]},
        "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None,
    }  # fmt: skip
    vision = {
        "depth": 3, "hidden_size": 128, "intermediate_size": 384, "num_heads": 4, "patch_size": 16,
        "out_hidden_size": 160, "num_position_embeddings": (VIEW // 16) ** 2, "deepstack_visual_indexes": [1],
    }  # fmt: skip
    ids = dict(zip(("image", "video", "vision_start", "vision_end"), protocol.VISION_TOKENS, strict=True))
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in ids.items()}
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, box_step=GRID, **ids))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "embed" not in name.replace("patch_embed", ""):
                parameter.normal_(0, 1 / math.sqrt(parameter[0].numel()))
        model.model.language_model.embed_tokens.weight.normal_(0, 1)  # of the size of what attention adds to it
        _order_numbers(model, tokenizer)
        model.model.visual.pos_embed.weight.normal_(0, 0.5)  # pointing needs each token to know its place
    return model


def _order_numbers(model, tokenizer) -> None:
    """Start the tokens of numbers as points on a curve, so that near numbers are near: waves of a few frequencies."""
    import torch

    tokens = {
        token: i
        for token, i in tokenizer.get_vocab().items()
        if token.strip(", ").isdigit() and int(token.strip(", ")) % GRID == 0
    }
    values = torch.tensor([int(token.strip(", ")) / 1000 for token in tokens])
    width = model.config.text_config.hidden_size
    frequency = torch.rand(width) * 6
    waves = 1.4 * torch.sin(2 * math.pi * (values[:, None] * frequency + torch.rand(width)))  # (numbers, hidden)
    ids = list(tokens.values())
    model.model.language_model.embed_tokens.weight[ids] = waves
    model.lm_head.weight[ids] = waves / math.sqrt(width)


def train(folder, steps: dict[str, int], seed: int = 0, every: int = 100):
    """Train the base from nothing and save model and processor into `folder`; resumes from its last checkpoint.

    `steps` gives the length of each phase. Returns the log: one row every 20 steps, with the loss.
    """
    import torch
    from torch.utils.data import DataLoader, Subset
    from tqdm import tqdm

    folder, device = Path(folder), "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))  # the loader wants a core: on two, steps of `see` took 0.57 s, not 0.88
    processor = build_processor()
    model = build_model(processor, seed).to(device)
    heads = seeing.build_heads(model.config.text_config.hidden_size).to(device)
    seeing.hasten(model.model.visual)
    if "see" in steps:
        seeing.whiten(model.model.visual, Lessons("see", 1, processor)[0]["pixel_values"])
    checkpoint, done, log = folder / "checkpoint.pt", {phase: 0 for phase in steps}, []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"]), heads.load_state_dict(state["heads"])
        done, log = done | state["done"], state["log"]
    for phase, length in steps.items():
        tower, language = [*model.model.visual.parameters()], [*model.model.language_model.parameters()]
        language += [*model.lm_head.parameters()]
        trained = [*tower, *heads.parameters()] if phase == "see" else language
        model.model.visual.requires_grad_(phase == "see")  # gradients of words would spoil what it has learned
        peak = PEAKS[phase]
        optimizer = torch.optim.AdamW(trained, lr=peak, weight_decay=0.01, betas=(0.9, 0.98))
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=length + 1, pct_start=0.05)
        if done[phase] and done[phase] < length:
            optimizer.load_state_dict(state["optimizer"]), scheduler.load_state_dict(state["scheduler"])
        lessons = Subset(Lessons(phase, length, processor), range(done[phase], length))
        loader = DataLoader(lessons, batch_size=None, num_workers=1, prefetch_factor=4)
        for batch in tqdm(loader, desc=phase, initial=done[phase], total=length, mininterval=5):
            batch = {k: v.to(device) for k, v in batch.items()}
            if phase == "see":
                loss, scores = seeing.loss_and_scores(model, heads, batch)
            else:
                loss, scores = _told(model, processor.tokenizer, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step(), scheduler.step()
            done[phase] += 1
            if done[phase] % 20 == 0 or done[phase] == length:
                log.append({"phase": phase, "step": done[phase], "loss": round(loss.item(), 4), **scores})
            if done[phase] % every == 0 or done[phase] == length:
                state = {"model": model.state_dict(), "heads": heads.state_dict(), "done": done, "log": log}
                state |= {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
                folder.mkdir(parents=True, exist_ok=True)
                torch.save(state, checkpoint.with_suffix(".part"))
                checkpoint.with_suffix(".part").replace(checkpoint)
    torch.set_num_threads(threads)
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    return log


def _told(model, tokenizer, batch):
    """The loss of the assistant's tokens, and the share of some that are the most likely ones.

    An answer, one token among ten, weighs as much as all the others: a true-or-false question is decided by comparing
    two words, and without the weight that was not learned. So do a box's first number, from which the others follow,
    the rationale's first word, which says how it will look, and the verdict on the draft.
    """
    import torch

    labels = batch.pop("labels")[:, 1:]
    logits = model(**batch).logits[:, :-1]
    end, *leads = tokenizer.convert_tokens_to_ids(["</answer>", " shows", "<think>", " was"])
    answer, (shown, how, verdict) = (labels == end).roll(-1, 1), ((labels == lead).roll(1, 1) for lead in leads)
    number = labels >= min(i for token, i in tokenizer.get_vocab().items() if token.startswith(", "))
    costs = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none"
    )
    left = (number & ~number.roll(1, 1)).roll(-1, 1)  # a box's first number
    weights = (labels >= 0) + CHOICE_WEIGHT * (answer | left | how | verdict)
    hits = logits.argmax(-1) == labels
    kinds = {"answer": answer, "first word shown": shown, "left edge": left, "verdict": verdict}
    scores = {name: round(hits[kind].float().mean().item(), 3) for name, kind in kinds.items() if kind.any()}
    return (costs * weights.flatten()).sum() / weights.sum(), scores


def abilities(policy, samples, folder, config) -> dict:
    """What the base can do, by forcing its region: `{condition: trajectories}` of greedy two-round rollouts."""
    from mags_kit.rollout import magnifier_for, rollout

    magnifier = magnifier_for(config, policy)
    whole = [[(0, 0, scenes.SIZE, scenes.SIZE)] for _ in samples]
    forced = {
        "the whole image": whole,
        "the region it chooses": None,
        "its own pointing": [[box] for box in _point(policy, samples, folder, config)],
        "the true box": [list(sample.boxes) for sample in samples],
    }
    made = {"one round": rollout(policy, samples, folder, config, magnifier, rounds=1, condition="one round")}
    for name, regions in forced.items():
        made[name] = rollout(policy, samples, folder, config, magnifier, regions=regions, condition=name)
    return made


def _point(policy, samples, folder, config):
    """Where the base points when asked for the card of each question, in source pixels."""
    import re

    from mags_kit.data import load_image
    from mags_kit.rollout import prompt_ids

    views = [load_image(Path(folder) / s.image).resize((VIEW, VIEW), 3) for s in samples]
    names = [re.search(r"on the (\w+ \w+)", s.question).group(1) for s in samples]
    parts = [
        [{"type": "image", "image": v}, {"type": "text", "text": f"Point at the {n}."}]
        for v, n in zip(views, names, strict=True)
    ]
    prompts, boxes = [prompt_ids(policy, p) for p in parts], []
    for i in range(0, len(samples), config.batch_size):
        chunk = slice(i, i + config.batch_size)
        for ids in policy.generate(prompts[chunk], [[v] for v in views[chunk]], config.round_tokens):
            numbers = [int(n) for n in re.findall(r"\d+", policy.processor.tokenizer.decode(ids))][:4]
            box = (
                numbers
                if len(numbers) == 4 and numbers[0] < numbers[2] and numbers[1] < numbers[3]
                else (0, 0, 1000, 1000)
            )
            boxes.append(seeing.written(box))
    return boxes


def model_card(steps: dict[str, int], table, environment: dict) -> str:
    """The README of the saved model, from what was done and measured. `table`: accuracies by condition."""
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
tags: [mags-rl, tiny, procedural]
---
# The embedded base model of the Mags-RL kit

A `Qwen3VLForConditionalGeneration` of 2.7 million parameters with a word-level tokenizer, trained from scratch
on procedural scenes (`mags_kit/scenes.py`, train split) by `notebooks/00_embedded_base.ipynb`. It stands in for a
vision-language model of useful size where there is no GPU; it knows no photos and few words.

- **Training**: {", ".join(f"{n} steps of `{phase}`" for phase, n in steps.items())}, {seeing.SCENES} scenes
  with {seeing.CLOSE_UPS} close-ups a step in `see`, {2 * BATCH} questions in `point`, {5 * BATCH // 2} in `look`,
  about {BATCH} in `answer` and `settle`, {5 * BATCH // 2} in `aim`, AdamW; stored in half precision.
  Finished and measured on {environment["device"]}.
  Scenes are ever new, but in `point`: {SEEN_AGAIN} with one or two cards and {SEEN_AGAIN} with more, which come back.
- **Its regions are poor by construction.** Where a two-round demonstration of the last phase, `aim`, is not about a
  {CLOSE["aim"][0]} card, {LOOSE["aim"]:.0%} look at a window an eighth of the image large (“Look at …”) and the others at
  the right card (“Point at …”); about {CLOSE["aim"][0]} cards all of them point. (In `answer` and `settle`, before:
  {LOOSE["answer"]:.0%} and {LOOSE["settle"]:.0%}, in `settle` but for {" and ".join(CLOSE["settle"])} cards.) Reinforcement
  learning has room to improve on that; a gain over this base says that the method works, not how much it helps a large
  model.
- **Prompts**: `QUESTION Answer now.` (one round), `QUESTION Look twice.` (two rounds), `Point at the COLOUR SHAPE.`
- **Boxes**: thousandths of width and height, in multiples of {GRID}.

Accuracy on {int(table["n"].iloc[0])} validation questions, greedy, NF4, by what round 1 looks at (`low`
and `high` are the 95% Wilson interval):

{table.to_string()}

Chance is 50% for relations, 25% for counts and attributes.
"""
