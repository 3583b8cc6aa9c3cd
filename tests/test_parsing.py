"""What a reply says, whatever a model wrote; and that rollout and TRL's tool loop read the same in it."""

import json
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from timing import fastest

from mags_kit.method import protocol
from mags_kit.method.parsing import message, parse_reply, parts

CALL = protocol.tool_call_text([(1, 2, 3, 4)])
REGIONS = {"regions": [[1, 2, 3, 4]]}
ECHO = "<think> </think> <draft> </draft> <tool_call> </tool_call> <rethink> </rethink> <answer> </answer>"
SAID = [  # reply, draft, answer
    ("<think>a</think><draft> 2 </draft>", "2", None), ("", None, None),
    ("<rethink>b</rethink><answer>two\nlines</answer>", None, "two\nlines"),
    # several, empty
    ("<answer>1</answer><answer>2</answer>", None, "2"), ("<answer>1</answer><answer> </answer>", None, "1"),
    # spoken of inside the reasoning, nested with balance and without, opened by the chat template
    ("<think>then <draft> </draft></think><draft>2</draft>", "2", None),
    ("<answer>yes</answer><rethink>I gave <answer>no</answer></rethink>", None, "yes"),
    (f"<think>{ECHO}</think><draft>2</draft>", "2", None),
    ("<think>a<think>b</think><draft>9</draft></think><draft>2</draft>", "2", None),
    ("<think>begin with <think> and <draft>9</draft></think><draft>2</draft>", "2", None),
    ("<think>a <rethink> b</think><answer>2</answer>", None, "2"),
    ("<draft>9</draft> it is</think><draft>2</draft>", "2", None), ("<draft>2</draft> was right</rethink>", "2", None),
    # not closed, crossed, nested, reversed
    ("<think>cut off, perhaps <answer>3</answer>", None, "3"), ("<answer>3", None, None),
    ("<draft>1<answer>2</draft>3</answer>", None, None), ("<answer>a<answer>b</answer>c</answer>", None, "b"),
    # in another form; with other markup; inside a tool call
    ("<ANSWER>3</ANSWER>", None, None), ("<answer>1<b>3</b></answer>", None, "1<b>3</b>"),
    ('<answer>2</answer><tool_call>{"a": "<answer>3</answer>"}</tool_call>', None, "2"),
]  # fmt: skip


def test_drafts_and_answers():
    found = [(text, parse_reply(text)) for text, *_ in SAID]
    assert [(text, reply.draft, reply.answer) for text, reply in found] == SAID


def called(arguments: str, name: str = '"magnify"') -> str:
    return f'<tool_call>{{"name": {name}, "arguments": {arguments}}}</tool_call>'


SPOKEN, SHOUTED = f"<think>I could {CALL}</think>", CALL.replace("tool_call", "TOOL_CALL")  # no call
CALLS = [  # reply, the arguments of its call
    (CALL, REGIONS), (f"<think>a</think><draft>2</draft>{CALL}", REGIONS),
    # of several the last counts that is not empty
    (called('{"regions": 1}') + CALL, REGIONS), (CALL + called('{"region": 1}'), None),
    (CALL + "<tool_call>{", REGIONS), (CALL + "<tool_call> </tool_call>", REGIONS),
    # nothing else can be called, and with nothing else
    (called('{"regions": []}', '"os.system"'), None), (called('{"regions": []}', '["magnify"]'), None),
    (called('{"boxes": []}'), None), (called("null"), None), (called("[[1, 2, 3, 4]]"), None),
    ('<tool_call>{"name": "magnify"}</tool_call>', None), ("<tool_call>__import__('os').getcwd()</tool_call>", None),
    (called('{"regions": null}'), {"regions": None}), (called('{"regions": "left"}'), {"regions": "left"}),
    # no JSON, nested, not closed
    (CALL.replace("]]", "]"), None), (CALL.replace('"', "'"), None), (f"<tool_call>{CALL}", None),
    (CALL.replace("</tool_call>", ""), None),
    # more than a reader can take
    (called('{"regions": ' + "[" * 1000 + "]" * 1000 + "}"), None), (called('{"regions": ' + "[" * 10**6 + "}"), None),
    (called('{"regions": [' + "9" * 10_000 + "]}"), None),
    (SPOKEN, None), (SPOKEN + CALL, REGIONS), (SHOUTED, None),
]  # fmt: skip


def test_tool_calls():
    assert not [text[:80] for text, call in CALLS if parse_reply(text).call != call]
    assert [text for text, _ in CALLS if not parse_reply(text).called] == [SPOKEN, SHOUTED]
    for text, call in CALLS:  # as TRL reads them
        assert [c["function"]["arguments"] for c in message(text)["tool_calls"]] == ([call] if call else []), text[:80]


def test_parts_say_whether_they_end_the_reply():
    found = parts("<think>a</think><draft></draft><answer>2</answer> \n")
    wanted = [("think", "a", False), ("draft", "", False), ("answer", "2", True)]
    assert [(p.tag, p.text, p.ends) for p in found] == wanted


def test_reading_time_grows_with_the_length_alone():
    """30,000 characters of one piece, in each frame, take milliseconds; what is quadratic would take seconds."""
    pieces = [
        "<think>", "</think>", "<think></think>", "<think><rethink>", "<answer>", "<draft>2</draft>", "<tool_call>",
        CALL, "<", "<answer><draft></answer>", "[", '{"a":', "9 ", "\\", '"', " ", "\n", "\x00", "<tool_call>[",
        "</parameter>", "<think></rethink>", "</think><think>", "<parameter=regions>", "</parameter></function>",
    ]  # fmt: skip
    xml = "<tool_call><function=magnify><parameter=regions>{}</tool_call>"
    for frame in ("{}", "<tool_call>{}</tool_call>", called('{"regions": [{}]}'), "<think>{}</think>", xml):
        for piece in pieces:
            text = frame.replace("{}", piece * (30_000 // len(piece)))
            assert fastest(partial(parse_reply, text), 1) < 0.5, (piece, frame)


@given(st.text() | st.lists(st.sampled_from(ECHO.split() + [CALL, "x"])).map("".join))
def test_no_text_raises_and_what_is_read_stands_in_it(text):
    reply = parse_reply(text)
    assert all(said is None or (said and said in text) for said in (reply.draft, reply.answer))
    json.dumps(message(text))


def test_the_written_tool_call_is_what_the_parser_reads(policy):
    text = "<think>the red disc</think>" + protocol.tool_call_text([(40, 80, 120, 200), (0, 0, 80, 80)])
    assert policy.text(policy.ids(text)) == text
    assert parse_reply(text).call == {"regions": [[40, 80, 120, 200], [0, 0, 80, 80]]}


def forms(box: list[int]) -> dict[str, str]:
    """What real models write to magnify a box, and the outcome that counts it."""
    text = json.dumps([str(v) for v in box])
    inner = called(f'{{"regions": [{box}]}}').removeprefix("<tool_call>").removesuffix("</tool_call>")
    xml = f"<tool_call><function=magnify><parameter=regions>[{box}]</parameter></function></tool_call>"
    return {
        called(f'{{"regions": [{box}]}}'): "ok",
        called(f'{{"regions": {box}}}'): "ok",  # one bare box
        called(f'{{"regions": [{{"bbox_2d": {box}, "label": "dog"}}]}}'): "labelled",
        called(f'{{"regions": {{"bbox_2d": {box}, "label": "dog"}}}}'): "labelled",
        called(f'{{"bbox_2d": {box}, "label": "dog"}}'): "labelled",
        called(f'{{"regions": [{box}], "label": "dog"}}'): "wrapped",
        called(f'{{"regions": [{text}]}}'): "as_text",
        called(f'{{"regions": {text}}}'): "as_text",
        called(f'{{"regions": "[{box}]"}}'): "as_text",
        called(json.dumps(f'{{"regions": [{box}]}}')): "as_text",
        f"<tool_call>```json\n{inner}\n```</tool_call>": "wrapped",
        xml: "ok",
        xml.replace("regions", "bbox_2d").replace(f"[{box}]", f"{box}"): "labelled",
        xml.replace(f"[{box}]", json.dumps(f"[{box}]")): "as_text",
    }


def test_what_real_models_write_is_read_as_what_it_means():
    boxes, sizes = {"thousand": (100, 200, 300, 400), "pixels": (200, 400, 600, 800)}, ((500, 500), (1000, 1000))
    for text, outcome in forms([100, 200, 300, 400]).items():
        reply = parse_reply(text)
        for frame, box in boxes.items():
            [region] = protocol.read_regions(reply.call["regions"], frame, *sizes, 2)
            assert {region.outcome, reply.form} - {"ok"} == {outcome} - {"ok"} and region.box == box, text
