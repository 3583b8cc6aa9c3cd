"""Reading what a policy wrote: the parts of a reply, and the one tool call in it. Never raises, whatever the text.

It is text that a model wrote: matched, and read as JSON, never evaluated, in a time that grows with its length alone.
`rollout` and TRL's tool loop read a reply by the same function, so that it means the same in both.
"""

import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from mags_kit.method.protocol import ANSWER, CALL, DRAFT, TAGS, THINK, TOOL, VERDICT, VERDICTS
from mags_kit.records import RegionOutcome

CALLING = CALL[0].strip("<>")
# Qwen3.5's form of a call
XML = re.compile(rf"<function={TOOL}>\s*<parameter=(.*)</function>", re.DOTALL)
FENCE = re.compile(r"```\w*\s(.*)```", re.DOTALL)
TAG = re.compile(f"<(/?)({'|'.join((*TAGS, CALLING))})>")
BRACKETS = 200  # in a call, at most: 64 boxes and more; Python's JSON reader raises where they nest a thousand deep


class Part(NamedTuple):
    """A part of a reply, in its order."""

    tag: str
    text: str  # between its two tags, trimmed; empty too where a tool call is opened and never closed
    ends: bool  # nothing follows it


@dataclass(frozen=True)
class Reply:
    """What decides of one reply. Of several parts of a kind the last counts, an empty one is none."""

    draft: str | None
    verdict: str | None  # of the draft, one of `VERDICTS`; anything else is none
    answer: str | None
    called: bool  # a tool call was opened, readable or not
    call: dict | None  # its arguments, `{"regions": …}`, where it can be read
    form: str = RegionOutcome.OK  # as it was asked for, or one of `records.FORMS`


def parse_reply(text: str) -> Reply:
    """Read a reply of either round. What stands inside its reasoning or its tool calls is no part of it."""
    found = parts(text)
    last = {part.tag: part.text for part in found if part.text}
    called = any(part.tag == CALLING for part in found)
    verdict = last.get(VERDICT, "").lower().strip(". ")
    verdict = verdict if verdict in VERDICTS else None
    return Reply(last.get(DRAFT), verdict, last.get(ANSWER), called, *_arguments(last.get(CALLING, "")))


def parts(text: str) -> list[Part]:
    """The reasoning, tool calls, drafts, verdicts and answers of a reply.

    Reasoning and calls run to the closing tag that balances theirs, else to the last such tag; what is inside belongs
    to them. A draft, a verdict or an answer holds no other tag. A tag that is never closed is text. `</think>` alone
    ends reasoning that began before the reply, as where a chat template opens it.
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
            close = tags[end]
            found.append(Part(name, text[tag.end() : close.start()].strip(), close.end() >= size))
        elif not tag[1] and name == CALLING:
            found.append(Part(name, "", False))
        opened.add(name)
        at = (at if end is None else end) + 1
    return found


def _closing(tags: list[re.Match], at: int, last: dict[str, int]) -> int | None:
    """Where the part that the tag at `at` opens is closed."""
    name = tags[at][2]
    if last.get(name, -1) < at:
        return None
    if name in (DRAFT, VERDICT, ANSWER):
        return at + 1 if tags[at + 1].groups() == ("/", name) else None
    depth = 1
    for i in range(at + 1, last[name] + 1):
        if tags[i][2] == name:
            depth += -1 if tags[i][1] else 1
        if not depth:
            return i
    return last[name]


def _arguments(call: str) -> tuple[dict | None, str]:
    """The arguments of a tool call, if it is one of the tool and means regions, else nothing; and its form."""
    fence = FENCE.fullmatch(call)
    inner = fence[1].strip() if fence else call
    form = RegionOutcome.WRAPPED if fence else RegionOutcome.OK
    written = XML.fullmatch(inner)
    match {"name": TOOL, "arguments": _parameters(written[1])} if written else _json(inner):
        case {"name": name, "arguments": arguments} if name == TOOL:
            if isinstance(arguments, str):
                arguments, form = _json(arguments), RegionOutcome.AS_TEXT
            regions, others = _regions(arguments)
            if regions is None:
                return None, RegionOutcome.OK
            listed = _json(regions["regions"]) if isinstance(regions["regions"], str) else None
            if isinstance(listed, list):
                regions, form = {"regions": listed}, RegionOutcome.AS_TEXT
            return regions, RegionOutcome.WRAPPED if others else form
    return None, RegionOutcome.OK


def _parameters(text: str) -> dict:
    """The parameters of an XML call by name, from behind the first `<parameter=`; under no name where there is more."""
    found = {}
    for parameter in text.split("<parameter="):
        name, _, rest = parameter.partition(">")
        value, closed, after = rest.rpartition("</parameter>")
        found |= {name: _json(value)} if closed else {}
        found |= {"": None} if after.strip() else {}
    return found


def _regions(arguments) -> tuple[dict | None, bool]:
    """The regions among the arguments, and whether there are arguments that the tool does not take."""
    match arguments:
        case {"regions": regions, **others}:
            return {"regions": regions}, bool(others)
        case {"bbox_2d": _}:
            return {"regions": [arguments]}, False
    return None, False


def _json(text: str):
    """The value of a JSON text, None where it is none."""
    if text.count("[") + text.count("{") > BRACKETS:
        return None
    try:
        return json.loads(text)
    except ValueError:  # no JSON, or a number of more digits than Python reads
        return None


def text_of(tokenizer, ids: list[int]) -> str:
    """A reply as text, its end mark and other special tokens left out; of no token at all, no text."""
    return tokenizer.decode(ids, skip_special_tokens=True)


def message(text: str) -> dict:
    """A reply as a chat message, from which TRL's tool loop takes the call."""
    call = parse_reply(text).call
    calls = [{"type": "function", "function": {"name": TOOL, "arguments": call}}] if call else []
    return {"role": "assistant", "content": text, "tool_calls": calls}
