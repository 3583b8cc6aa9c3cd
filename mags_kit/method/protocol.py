"""The prompts, the declaration and format of the tool, and boxes between the model's coordinate frame and pixels.

All other modules have regions in pixels of the original image. `parsing` reads the replies.
"""

import math
import re

from mags_kit.records import RegionOutcome, Region, area

THINK, DRAFT, RETHINK, VERDICT, ANSWER = TAGS = "think", "draft", "rethink", "verdict", "answer"  # a reply's parts
RIGHT, WRONG = VERDICTS = "right", "wrong"  # what round 2 can say of the draft
CALL = "<tool_call>", "</tool_call>"
VISION_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
MIN_SIDE = 8  # pixels of a region's side; smaller ones are `tiny`
NO_VIEW = "no view"  # what the magnifier says when no region could be cut out


def magnify(regions: list) -> list[dict] | str:
    """
    Look at regions of the image through a magnifying glass.

    Args:
        regions: Boxes [x0, y0, x1, y1], one for each region.

    Returns:
        The magnified regions.
    """
    raise NotImplementedError("this declares the tool to a policy; `episode.Episode.magnify` does what it says")


TOOL = magnify.__name__

TOOL_PROMPT = (
    "{question}\n"
    "Work in rounds. Round 1: reason about the image in <think> </think>, give your first guess in <draft> </draft>, "
    "{call} the tool magnify with one to {max_regions} regions that show the details you need, as "
    "[x0, y0, x1, y1] boxes{frame}; choose them tight. For example:\n{example}\n"
    "In the last round: look at the magnified regions, check your draft against them in <rethink> </rethink>, say in "
    "<verdict> </verdict> whether the draft was right or wrong, and give the final answer, as short as possible, in "
    "<answer> </answer>."
)
# Texts by style; the setting `prompts` replaces single ones. `two` asks for a look and `free` leaves it to the policy;
# `reason`, `direct` (`options`: where the question lists options) and `boxes` are prompts of one round; the others are
# what the tool says: of each `view`, and what is due after it, where the policy may look `again` and where not.
PROMPTS = {
    # The embedded tiny VLM's vocabulary holds little more than these words
    "compact": {
        "two": "{question} Look twice.", "free": "{question} Look if needed.", "reason": "{question} Answer now.",
    },
    "full": {
        "two": TOOL_PROMPT.replace("{call}", "then call"),
        "free": TOOL_PROMPT.replace("{call}", "then, if the image as it is does not suffice, call")
        + " Where it does suffice, answer in round 1: <think> </think> and <answer> </answer> alone.",
        "reason": (
            "{question}\n"
            "Reason about the image in <think> </think>, then give the final answer, as short as possible, in "
            "<answer> </answer>."
        ),
        "direct": "{question}\nAnswer the question using a single word or phrase.",  # the benchmarks' own wording
        "options": "{question}\nAnswer with the option's letter from the given choices directly.",
        "boxes": (
            "{question}\nReason about the image in <think> </think>, and write down there each region that your "
            "reasoning rests on, as a [x0, y0, x1, y1] box{frame}; then give the final answer, as short as possible, "
            "in <answer> </answer>."
        ),
        "view": "View {number}: {box}, shown {times} times as large as in the image above.\n",
        "again": "You may look again. If you have seen enough, check your draft against the views, then answer.",
        "due": "Now check your draft against the views, then answer.",
    },
}  # fmt: skip
# How the embedded VLM looks, and the word for it that ends its rationale, after what it sees at first ("the red disc,
# it shows too small Point"): not at all, at one card, at two, at a large window
STRATEGIES = {"at once": "", "closely": " Point", "at two cards": " Compare", "roughly": " Look"}
AT_ONCE, CLOSELY, TWO_CARDS, ROUGHLY = STRATEGIES
# In place of its `free`, for an experiment: the word begins the rationale, so it chooses before it says what it sees.
# `strategy` and `looking` are about the other prompts.
CHOOSE_FIRST = "{question} Choose first. Look if needed."

FRAMES = {"pixels": " in pixels of the image", "thousand": " in thousandths of the image's width and height"}
EXAMPLE = (400, 300, 600, 550)  # the worked example's region, in thousandths


def prompt(text: str, question: str, image, frame: str = "thousand", max_regions: int = 1, xml: bool = False) -> list:
    """The content of the first user message: the first view (a PIL image) and a text of `PROMPTS`, filled in."""
    question = re.sub(r"<(?=\|\w+\|>)", "< ", question)  # so that "<|image_pad|>" in it stays text
    example = tool_call_text([to_model(EXAMPLE, frame, image.size, (1000, 1000))], xml)
    text = text.format(question=question, max_regions=max_regions, frame=FRAMES[frame], example=example)
    return [{"type": "image", "image": image}, {"type": "text", "text": text}]


def strategy(reply: str) -> str:
    """Which of STRATEGIES the rationale of a reply of the embedded VLM ends with."""
    rationale = reply.split(f"</{THINK}>")[0]
    return next((name for name, word in STRATEGIES.items() if word and rationale.endswith(word)), AT_ONCE)


def looking(reply: str, how: str) -> str:
    """The rationale of a reply of the embedded VLM, but for its end, which says that it looks in another way."""
    rationale = reply.split(f"</{THINK}>")[0].removesuffix(STRATEGIES[strategy(reply)])
    return f"{rationale}{STRATEGIES[how]}</{THINK}>"


def part(tag: str, text: str) -> str:
    """A part of a reply, as a policy writes it."""
    return f"<{tag}>{text}</{tag}>"


def tool_call_text(boxes, xml: bool = False) -> str:
    """A tool call as a policy writes it, in JSON or XML; `boxes` in the model's own frame."""
    regions = "[" + ", ".join("[" + ", ".join(str(v) for v in box) + "]" for box in boxes) + "]"
    if xml:
        inner = f"<function={TOOL}>\n<parameter=regions>\n{regions}\n</parameter>\n</function>"
    else:
        inner = f'{{"name": "{TOOL}", "arguments": {{"regions": {regions}}}}}'
    return f"{CALL[0]}\n{inner}\n{CALL[1]}"


def to_source(box, frame: str, view: tuple[int, int], source: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box in the model's frame -> source pixels. `view` and `source` are (width, height) of the two images."""
    return tuple(value * unit for value, unit in zip(box, _scale(frame, view, source) * 2, strict=True))


def to_model(
    box, frame: str, view: tuple[int, int], source: tuple[int, int], step: int = 1, outward: bool = False
) -> tuple[int, ...]:
    """A box in source pixels -> the model's frame, in multiples of `step`: the nearest ones, or with `outward` those
    that enclose the box, within the image."""
    across, down = _scale(frame, view, source)
    x0, y0, x1, y1 = (round(v / unit / step, 6) for v, unit in zip(box, (across, down) * 2, strict=True))
    if not outward:
        return tuple(step * round(v) for v in (x0, y0, x1, y1))
    right, bottom = round(source[0] / across), round(source[1] / down)
    low = (max(0, step * math.floor(v)) for v in (x0, y0))
    return *low, min(right, step * math.ceil(x1)), min(bottom, step * math.ceil(y1))


def _scale(frame, view, source) -> tuple[float, float]:
    units = {"thousand": (1000, 1000), "pixels": view}[frame]
    return source[0] / units[0], source[1] / units[1]


def read_regions(raw, frame: str, view, source, max_regions: int, seen: tuple[Region, ...] = ()) -> list[Region]:
    """What a policy wrote for `regions`, any JSON value -> regions in source pixels, each with its outcome.

    It never raises. A region with a side under MIN_SIDE pixels is `tiny`, one beyond `max_regions` is `surplus`, one
    that was among those `seen` at earlier looks is a `duplicate`; see `records.RegionOutcome`. Other forms than
    [x0, y0, x1, y1] that real models write are read and named, too.
    """
    items = [raw] if not isinstance(raw, (list, tuple)) or _as_box(raw)[0] else raw[:32]  # a bare box is a list, too
    regions: list[Region] = []
    for item in items:
        region, usable = _region(item, frame, view, source), [r.box for r in regions if r.usable]
        if region.usable and region.box in (*usable, *(r.box for r in seen if r.usable)):
            region = Region(region.box, RegionOutcome.DUPLICATE)
        elif region.usable and len(usable) >= max_regions:
            region = Region(region.box, RegionOutcome.SURPLUS)
        regions.append(region)
    return regions


def _region(item, frame: str, view, source) -> Region:
    box, form = _as_box(item)
    if box is None:
        return Region((0, 0, 0, 0), RegionOutcome.NOT_A_BOX)
    scale = source if form == RegionOutcome.SHARES else _scale(frame, view, source)
    x0, y0, x1, y1 = box = [v * unit for v, unit in zip(box, (*scale, *scale), strict=True)]
    width, height = source
    if x1 <= x0 or y1 <= y0:
        return Region(tuple(round(v) for v in box), RegionOutcome.REVERSED)
    cut = (max(0, math.floor(x0)), max(0, math.floor(y0)), min(width, math.ceil(x1)), min(height, math.ceil(y1)))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        return Region(tuple(round(v) for v in box), RegionOutcome.OUTSIDE)
    if area(cut) > 0.9 * width * height:
        return Region(cut, RegionOutcome.WHOLE)
    if min(cut[2] - cut[0], cut[3] - cut[1]) < MIN_SIDE:
        return Region(cut, RegionOutcome.TINY)
    reached_over = x0 < -1 or y0 < -1 or x1 > width + 1 or y1 > height + 1
    return Region(cut, RegionOutcome.CLIPPED if reached_over else form)


def _as_box(item) -> tuple[list | None, str]:
    """Four numbers and the form in which they were written; None where it is no box."""
    form = RegionOutcome.OK
    if isinstance(item, dict) and "bbox_2d" in item:
        item, form = item["bbox_2d"], RegionOutcome.LABELLED
    if not isinstance(item, (list, tuple)) or len(item) != 4:
        return None, form
    if any(isinstance(v, str) for v in item):
        number = r"[+-]?\d{1,9}(\.\d{1,9})?"
        item = [float(v) if isinstance(v, str) and re.fullmatch(number, v.strip()) else v for v in item]
        form = RegionOutcome.AS_TEXT
    if not all(type(v) in (int, float) and abs(v) < 1e6 for v in item):  # NaN compares False
        return None, form
    if all(0 <= v <= 1 for v in item) and any(v % 1 for v in item):  # [0, 0, 1, 1] are pixels or thousandths
        form = RegionOutcome.SHARES
    return list(item), form
