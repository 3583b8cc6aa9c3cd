"""Reads what a policy wrote: the parts of a reply and its tool call. `rollout` and TRL's loop share it.

No text makes it raise. Text is matched and read as JSON, never evaluated, in time linear in its length.
"""

import json
import re
from dataclasses import dataclass

from mags_kit.method.protocol import ANSWER, CALL, DRAFT, TAGS, THINK, TOOL, VERDICT, VERDICTS
from mags_kit.records import RegionOutcome

CALLING = CALL[0].strip("<>")
XML = re.compile(rf"(?s)<function={TOOL}>\s*<parameter=(\w+)>(.*)</parameter>\s*</function>")  # Qwen3.5's form
FENCE = re.compile(r"(?s)```\w*\s(.*)```")
TAG = re.compile(f"<(/?)({'|'.join((*TAGS, CALLING))})>")
BRACKETS = 200  # in a call, at most: 64 boxes and more; Python's JSON reader raises where they nest a thousand deep


@dataclass(frozen=True)
class Part:
    tag: str
    text: str  # between its two tags, trimmed; empty too where a tool call is opened and never closed
    ends: bool  # nothing follows it


@dataclass(frozen=True)
class Reply:
    """The content of a reply: of several parts of a kind, the last that is not empty."""

    draft: str | None
    verdict: str | None  # of the draft, one of `VERDICTS`; anything else is none
    answer: str | None
    called: bool  # a tool call was opened, readable or not
    call: dict | None  # its arguments, `{"regions": …}`, where it can be read
    form: str = RegionOutcome.OK  # as it was asked for, or one of `records.FORMS`


def parse_reply(text: str) -> Reply:
    """Read a reply of either round. Tags inside its reasoning or its tool calls do not count."""
    found = parts(text)
    last = {part.tag: part.text for part in found if part.text}
    called, verdict = any(part.tag == CALLING for part in found), last.get(VERDICT, "").lower().strip(". ")
    verdict = verdict if verdict in VERDICTS else None
    return Reply(last.get(DRAFT), verdict, last.get(ANSWER), called, *_arguments(last.get(CALLING, "")))


def parts(text: str) -> list[Part]:
    """The reasoning, tool calls, drafts, verdicts and answers of a reply, in order.

    Reasoning and calls run to the closing tag that balances theirs, else to the last such tag, whatever is inside. A
    draft, a verdict or an answer contains no other tag. A tag that is never closed is text. `</think>` without a
    `<think>` ends reasoning that the chat template opened before the reply.
    """
    tags = list(TAG.finditer(text))
    last = {tag[2]: at for at, tag in enumerate(tags) if tag[1]}  # the last closing one of each
    found, opened, at, size = [], set(), 0, len(text.rstrip())
    while at < len(tags):
        tag, name = tags[at], tags[at][2]
        end = None if tag[1] else _closing(tags, at, last)
        if name == THINK and tag[1] and THINK not in opened:
            found.clear()
        if end is not None:
            found.append(Part(name, text[tag.end() : tags[end].start()].strip(), tags[end].end() >= size))
        elif not tag[1] and name == CALLING:
            found.append(Part(name, "", False))
        opened.add(name)
        at = (at if end is None else end) + 1
    return found


def _closing(tags: list[re.Match], at: int, last: dict[str, int]) -> int | None:
    """Index of the tag that closes the part which the tag at `at` opens."""
    name = tags[at][2]
    if last.get(name, -1) < at:
        return None
    if name in (DRAFT, VERDICT, ANSWER):
        return at + 1 if tags[at + 1].groups() == ("/", name) else None
    depth = 0
    for i in range(at, last[name] + 1):
        if tags[i][2] == name:
            depth += -1 if tags[i][1] else 1
        if not depth:
            return i
    return last[name]


def _arguments(call: str) -> tuple[dict | None, str]:
    """The regions that a tool call asks for as `{"regions": …}`, None where it is no such call; and its form."""
    fence = FENCE.fullmatch(call)
    inner, form = (fence[1].strip(), RegionOutcome.WRAPPED) if fence else (call, RegionOutcome.OK)
    xml = XML.fullmatch(inner)
    read = {"name": TOOL, "arguments": {xml[1]: _json(xml[2])}} if xml else _json(inner)
    arguments = read.get("arguments") if isinstance(read, dict) and read.get("name") == TOOL else None
    if isinstance(arguments, str):
        arguments, form = _json(arguments), RegionOutcome.AS_TEXT
    if not isinstance(arguments, dict) or not {"regions", "bbox_2d"}.intersection(arguments):
        return None, RegionOutcome.OK
    arguments = arguments if "regions" in arguments else {"regions": [arguments]}
    regions = arguments["regions"]
    if isinstance(regions, str) and isinstance(listed := _json(regions), list):
        regions, form = listed, RegionOutcome.AS_TEXT
    return {"regions": regions}, RegionOutcome.WRAPPED if len(arguments) > 1 else form


def _json(text: str):
    """The value of a JSON text; None where it is not JSON."""
    try:
        return json.loads(text) if text.count("[") + text.count("{") <= BRACKETS else None
    except ValueError:  # also for a number of more digits than Python reads
        return None


def message(text: str) -> dict:
    """A reply as a chat message, from which TRL's tool loop takes the call."""
    call = parse_reply(text).call
    calls = [{"type": "function", "function": {"name": TOOL, "arguments": call}}] if call else []
    return {"role": "assistant", "content": text, "tool_calls": calls}
