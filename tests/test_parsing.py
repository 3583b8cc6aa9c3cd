"""What a reply says, whatever a model wrote; and that rollout and TRL's tool loop read the same in it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_records import make_trajectory
from timing import fastest

from mags_kit import records
from mags_kit.method import protocol, rewards
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.parsing import message, parse_reply, parts, text_of

CALL = protocol.tool_call_text([(1, 2, 3, 4)])
REGIONS = {"regions": [[1, 2, 3, 4]]}
ECHO = "<think> </think> <draft> </draft> <tool_call> </tool_call> <rethink> </rethink> <answer> </answer>"


@pytest.mark.parametrize(
    "text, draft, answer",
    [
        ("<think>a</think><draft> 2 </draft>", "2", None),
        ("<rethink>b</rethink><answer>two\nlines</answer>", None, "two\nlines"),
        ("", None, None),
        # several, empty
        ("<answer>1</answer><answer>2</answer>", None, "2"),
        ("<answer>1</answer><answer> </answer>", None, "1"),
        ("<answer></answer>", None, None),
        # spoken of inside the reasoning
        ("<think>then <draft> </draft></think><draft>2</draft>", "2", None),
        ("<think>then <draft>9</draft></think>", None, None),
        ("<draft>2</draft><think>or <draft>9</draft></think>", "2", None),
        ("<rethink>give <answer> </answer></rethink><answer>yes</answer>", None, "yes"),
        ("<answer>yes</answer><rethink>I gave <answer>no</answer></rethink>", None, "yes"),
        (f"<think>{ECHO}</think><draft>2</draft>", "2", None),
        (f"<think>{ECHO.replace(' ', 'x')}</think><answer>2</answer>", None, "2"),
        ("<think>a<think>b</think><draft>9</draft></think><draft>2</draft>", "2", None),  # nested, balanced
        ("<think>begin with <think> and <draft>9</draft></think><draft>2</draft>", "2", None),  # nested, not balanced
        ("<think>a <rethink> b</think><answer>2</answer>", None, "2"),  # another tag inside is text
        ("<draft>9</draft> it is</think><draft>2</draft>", "2", None),  # opened by the chat template
        ("<draft>9</draft> it is</think>", None, None),
        ("<draft>2</draft> was right</rethink>", "2", None),
        # not closed, crossed, nested, reversed
        ("<think>cut off, perhaps <answer>3</answer>", None, "3"),
        ("<answer>3", None, None),
        ("<draft>3</answer>", None, None),
        ("<draft>1<answer>2</draft>3</answer>", None, None),
        ("<answer>a<answer>b</answer>c</answer>", None, "b"),
        ("<answer><think>a</think>3</answer>", None, None),
        ("</answer>3<answer>", None, None),
        ("<answer>1</answer><answer>2", None, "1"),
        # as the prompt writes them and no other way
        ("<ANSWER>3</ANSWER>", None, None),
        ("<Answer>3</answer>", None, None),
        ('<answer type="final">3</answer>', None, None),
        ("< answer>3</ answer>", None, None),
        ("<answer>3< /answer>", None, None),
        ("<answer>1<b>3</b></answer>", None, "1<b>3</b>"),  # other markup is text
        # inside a tool call
        ('<tool_call>{"name": "<answer>3</answer>"}</tool_call>', None, None),
        ('<answer>2</answer><tool_call>{"a": "<answer>3</answer>"}</tool_call>', None, "2"),
    ],
)
def test_drafts_and_answers(text, draft, answer):
    reply = parse_reply(text)
    assert (reply.draft, reply.answer) == (draft, answer)


SPOKEN = f"<think>I could {CALL}</think>"
SHOUTED = CALL.replace("tool_call", "TOOL_CALL")


def called(arguments: str, name: str = '"magnify"') -> str:
    return f'<tool_call>{{"name": {name}, "arguments": {arguments}}}</tool_call>'


@pytest.mark.parametrize(
    "text, call",
    [
        (CALL, REGIONS),
        (f"<think>a</think><draft>2</draft>{CALL}", REGIONS),
        (f"{CALL} and <think>more</think>", REGIONS),
        # of several the last counts
        (called('{"regions": 1}') + CALL, REGIONS),
        (CALL + called('{"region": 1}'), None),
        (CALL + "<tool_call>{", REGIONS),
        (CALL + "<tool_call> </tool_call>", REGIONS),
        # nothing else can be called, and with nothing else
        (called('{"regions": []}', '"os.system"'), None),
        (called('{"regions": []}', '"Magnify"'), None),
        (called('{"regions": []}', '["magnify"]'), None),
        (called('{"regions": []}', "null"), None),
        (called('{"boxes": []}'), None),
        (called("{}"), None),
        (called("null"), None),
        (called("[[1, 2, 3, 4]]"), None),  # positional
        (called('"{\\"zoom\\": []}"'), None),
        (called('"left"'), None),
        ("<tool_call>```json\nmagnify```</tool_call>", None),
        ('<tool_call>{"name": "magnify"}</tool_call>', None),
        ('<tool_call>["magnify", []]</tool_call>', None),
        ("<tool_call>magnify</tool_call>", None),
        ("<tool_call>magnify([[1, 2, 3, 4]])</tool_call>", None),
        ("<tool_call>__import__('os').getcwd()</tool_call>", None),
        ("<tool_call></tool_call>", None),
        # whatever stands for the regions is a matter of `read_regions`
        (called('{"regions": null}'), {"regions": None}),
        (called('{"regions": "left"}'), {"regions": "left"}),
        (called('{"regions": "[[1, 2, 3, 4]]"}'), REGIONS),
        (called('{"regions": "[[1, 2"}'), {"regions": "[[1, 2"}),
        (called('{"regions": {"a": 1}}'), {"regions": {"a": 1}}),
        (called('{"regions": 1, "regions": [[1, 2, 3, 4]]}'), REGIONS),  # a key twice
        ('<tool_call>{"name": "magnify", "id": 7, "arguments": {"regions": [[1, 2, 3, 4]]}}</tool_call>', REGIONS),
        (called('{"regions": ["\\ud800"]}'), {"regions": ["\ud800"]}),
        # not JSON
        (CALL.replace("]]", "]"), None),
        (CALL.replace('"', "'"), None),
        (called('{"regions": "\\x"}'), None),
        (called('{"regions": [[1, 2, 3, 4],]}'), None),
        (f"<tool_call>{CALL}", None),  # nested
        (CALL.replace("</tool_call>", ""), None),  # not closed
        (SHOUTED, None),
        # more than a reader can take
        (called('{"regions": ' + "[" * 1000 + "]" * 1000 + "}"), None),
        (called('{"regions": "' + "[" * 1000 + '"}'), None),
        (called('{"regions": ' + "[" * 10**6 + "}"), None),
        (called('{"regions": [' + "9" * 10_000 + "]}"), None),
        (called('{"regions": [' + "9" * 4000 + "]}"), {"regions": [int("9" * 4000)]}),
        # inside the reasoning it is only spoken of
        (SPOKEN, None),
        (SPOKEN + CALL, REGIONS),
        (f"<think>I do {CALL}", REGIONS),  # reasoning that is not closed is none
    ],
)
def test_tool_calls(text, call):
    reply = parse_reply(text)
    assert reply.call == call
    assert [c["function"]["arguments"] for c in message(text)["tool_calls"]] == ([call] if call else [])
    assert reply.called == (text not in (SPOKEN, SHOUTED))


def test_parts_say_whether_they_end_the_reply():
    found = parts("<think>a</think><draft></draft><answer>2</answer> \n")
    assert [(p.tag, p.text, p.ends) for p in found] == [
        ("think", "a", False), ("draft", "", False), ("answer", "2", True),
    ]  # fmt: skip


XML = "<tool_call><function=magnify><parameter=regions>"
LONG = [  # repeated to 100,000 characters
    "<think>", "</think>", "<think></think>", "<think><rethink>", "<answer>", "<draft>2</draft>", "<tool_call>", CALL,
    "<tool_call></tool_call>", "<", "</", "<answer><draft></answer>", "[", '{"a":', "9", "9 ", "\\", '"', " ", "\n",
    "é", "\x00", "\u2028", "<tool_call>[", "<think></rethink>", "</think><think>", "</parameter>",
    "</parameter></function>",
]  # fmt: skip


@pytest.mark.parametrize("piece", LONG)
@pytest.mark.parametrize(
    "frame",
    ["{}", "<tool_call>{}</tool_call>", called('{{"regions": [{}]}}'), "<think>{}</think>", f"{XML}{{}}</tool_call>"],
)
def test_100_kB_are_read_within_50_ms(piece, frame):
    text = frame.replace("{{", "{").replace("}}", "}").replace("{}", piece * (100_000 // len(piece)))

    def read():
        reply = parse_reply(text)
        protocol.read_regions((reply.call or REGIONS)["regions"], "thousand", (320, 224), (640, 480), 2)

    assert fastest(read) < 0.05


@given(st.text() | st.lists(st.sampled_from(ECHO.split() + [CALL, "x"])).map("".join))
def test_no_text_raises_and_what_is_read_stands_in_it(text):
    reply = parse_reply(text)
    assert all(said is None or (said and said in text) for said in (reply.draft, reply.answer))
    json.dumps(message(text))


def test_the_written_tool_call_is_what_the_parser_reads(policy):
    text = "<think>the red disc</think>" + protocol.tool_call_text([(40, 80, 120, 200), (0, 0, 80, 80)])
    tokenizer = policy.processor.tokenizer
    assert text_of(tokenizer, [*tokenizer.encode(text), tokenizer.eos_token_id]) == text
    assert parse_reply(text).call == {"regions": [[40, 80, 120, 200], [0, 0, 80, 80]]}
    assert text_of(tokenizer, []) == ""


SIZES = (500, 500), (1000, 1000)  # of the first view, of the image


def forms(box: list[int]) -> dict[str, str]:
    """What real models write to have a look at a box, and how it is counted."""
    text = json.dumps([str(v) for v in box])
    inner = called(f'{{"regions": [{box}]}}').removeprefix("<tool_call>").removesuffix("</tool_call>")
    xml = f"<tool_call><function=magnify><parameter=regions>[{box}]</parameter>"
    return {
        called(f'{{"regions": [{box}]}}'): "ok",
        called(f'{{"regions": {box}}}'): "ok",  # one bare box
        called(f'{{"regions": [{{"bbox_2d": {box}, "label": "dog"}}]}}'): "labelled",
        called(f'{{"regions": {{"bbox_2d": {box}, "label": "dog"}}}}'): "labelled",
        called(f'{{"bbox_2d": {box}, "label": "dog"}}'): "labelled",
        called(f'{{"bbox_2d": {box}}}'): "labelled",
        called(f'{{"regions": [{box}], "label": "dog"}}'): "wrapped",
        called(f'{{"regions": [{text}]}}'): "as_text",
        called(f'{{"regions": {text}}}'): "as_text",
        called(f'{{"regions": "[{box}]"}}'): "as_text",
        called(json.dumps(f'{{"regions": [{box}]}}')): "as_text",
        f"<tool_call>```json\n{inner}\n```</tool_call>": "wrapped",
        f"<tool_call>```\n{inner}```</tool_call>": "wrapped",
        f"{xml}</function></tool_call>": "ok",
        f"{xml}<parameter=label>dog</parameter></function></tool_call>": "wrapped",
        f"{xml.replace('<parameter', '<parameter=label>dog</parameter><parameter')}</function></tool_call>": "wrapped",
        f"{xml.replace('regions', 'bbox_2d').replace(f'[{box}]', f'{box}')}</function></tool_call>": "labelled",
        f"{xml.replace(f'[{box}]', json.dumps(f'[{box}]'))}</function></tool_call>": "as_text",
        f"{xml} it is</function></tool_call>": "wrapped",
    }


FORMS = forms([100, 200, 300, 400])


@pytest.mark.parametrize("frame", ["thousand", "pixels"])
@pytest.mark.parametrize("text", FORMS)
def test_what_real_models_write_is_read_as_what_it_means(text, frame):
    reply = parse_reply(text)
    [region] = protocol.read_regions(reply.call["regions"], frame, *SIZES, 2)
    assert {region.outcome, reply.form} - {"ok"} == {FORMS[text]} - {"ok"} and region.usable
    assert region.box == {"thousand": (100, 200, 300, 400), "pixels": (200, 400, 600, 800)}[frame]


@pytest.mark.parametrize("text", FORMS)
def test_a_look_counts_the_form_of_its_call(text, policy, smoke_run, tmp_path):
    Image.new("RGB", (1000, 500)).save(tmp_path / "a.png")
    look = Episode(replace(Agent.of(smoke_run, policy), folder=tmp_path), replace(make_trajectory().sample, image="a.png"))
    assert len(look.magnify(**parse_reply(text).call)) == 1
    assert [(r.box, r.outcome) for r in look.trajectory([text], [9]).regions] == [((100, 100, 300, 200), FORMS[text])]


@pytest.mark.parametrize("frame", ["thousand", "pixels"])
def test_shares_of_the_sides_are_the_same_in_every_frame(frame):
    found = protocol.read_regions([[0.1, 0.2, 0.3, 0.4], {"bbox_2d": ["0.5", "0", "1.0", "0.25"]}], frame, *SIZES, 2)
    assert [(r.box, r.outcome) for r in found] == [((100, 200, 300, 400), "shares"), ((500, 0, 1000, 250), "shares")]


@pytest.mark.parametrize(
    "raw, outcome",
    [
        ([[0, 0, 1, 1]], "tiny"), ([["a", "b", "c", "d"]], "not_a_box"), ([["1e3", "0", "2", "3"]], "not_a_box"),
        ([{"bbox": [1, 2, 30, 40]}], "not_a_box"), ([{"bbox_2d": "left"}], "not_a_box"), ({"bbox_2d": []}, "not_a_box"),
        ([["300", "200", "100", "400"]], "reversed"), ([{"bbox_2d": [-50, 0, 500, 500]}], "clipped"),
        ([{"bbox_2d": [0, 0, 1000, 1000]}], "whole"), ([["0x1", "0", "2", "3"]], "not_a_box"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_region_counts_before_its_form(raw, outcome):
    assert [r.outcome for r in protocol.read_regions(raw, "thousand", *SIZES, 2)] == [outcome]


def test_the_format_reward_still_teaches_what_was_asked_for():
    view = records.View((0, 0, 10, 10), (128, 128))
    paid = {
        form: rewards.regions(make_trajectory(regions=(records.Region((0, 0, 9, 9), form),), views=(view,)))
        for form in records.FORMS
    }
    assert set(paid.values()) == {0.0}
