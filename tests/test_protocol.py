import json
import math

from hypothesis import given
from hypothesis import strategies as st

from mags_kit.method.protocol import read_regions, to_model, to_source

SOURCE, VIEW = (640, 480), (320, 224)
REGIONS = [  # what a policy wrote, in thousandths, of which two may be shown; and the outcomes
    ([[100, 100, 300, 300]], "ok"), ([100, 100, 300, 300], "ok"), ([[300, 300, 100, 100]], "reversed"),
    ([[100, 100, 100, 300]], "reversed"), ([[-50, 100, 300, 300]], "clipped"), ([[1200, 1200, 1500, 1500]], "outside"),
    ([[100, 100, 105, 105]], "tiny"), ([[0, 0, 1, 1]], "tiny"), ([[0, 0, 1000, 1000]], "whole"),
    ([[100, 100, 300, 300]] * 2, "ok duplicate"), ([[9, 9, 300, 300], [1, 1, 99, 99], [5, 5, 99, 99]], "ok ok surplus"),
    ([["a", 1, 2, 3]], "not_a_box"), ([[math.nan, 1, 2, 3]], "not_a_box"), ([[1e308, 1, 2, 3]], "not_a_box"),
    ([[math.inf, 1, 2, 3]], "not_a_box"), ([[10**4000, 1, 2, 3]], "not_a_box"), ([[True, 1, 200, 300]], "not_a_box"),
    ([[[1, 2, 3, 4]]], "not_a_box"), ([[1, 2, 3]], "not_a_box"), ("[[1, 2, 3, 4]]", "not_a_box"), (None, "not_a_box"),
    ({}, "not_a_box"), ([], ""), ([["1e3", "0", "2", "3"]], "not_a_box"), ([["0x1", "0", "2", "3"]], "not_a_box"),
    # What is wrong with a region counts before its form
    ([{"bbox": [1, 2, 30, 40]}], "not_a_box"), ([{"bbox_2d": "left"}], "not_a_box"), ({"bbox_2d": []}, "not_a_box"),
    ([["300", "200", "100", "400"]], "reversed"), ([{"bbox_2d": [-50, 0, 500, 500]}], "clipped"),
    ([{"bbox_2d": [0, 0, 1000, 1000]}], "whole"), ([{"bbox_2d": [100, 200, 300, 400], "label": "dog"}], "labelled"),
    ([["100", "200", "300", "400"]], "as_text"), ([[0.1, 0.2, 0.3, 0.4]], "shares"),
]  # fmt: skip


def test_outcomes_of_regions():
    found = [(raw, " ".join(r.outcome for r in read_regions(raw, "thousand", VIEW, SOURCE, 2))) for raw, _ in REGIONS]
    assert not [pair for pair, row in zip(found, REGIONS, strict=True) if pair[1] != row[1]]


def test_shares_of_the_sides_are_the_same_in_every_frame():
    for frame in ("thousand", "pixels"):
        regions = read_regions([[0.1, 0.2, 0.3, 0.4], ["0.5", "0", "1.0", "0.25"]], frame, (500, 500), (1000, 1000), 2)
        assert [r.box for r in regions] == [(100, 200, 300, 400), (500, 0, 1000, 250)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(json_values, st.sampled_from(["thousand", "pixels"]))
def test_no_value_raises_and_usable_regions_lie_inside(raw, frame):
    regions = read_regions(raw, frame, VIEW, SOURCE, max_regions=3)
    assert sum(r.usable for r in regions) <= 3
    for x0, y0, x1, y1 in (r.box for r in regions if r.usable):
        assert 0 <= x0 < x1 <= SOURCE[0] and 0 <= y0 < y1 <= SOURCE[1]
    json.dumps([r.box for r in regions])


@given(st.integers(0, 600), st.integers(0, 440), st.integers(8, 40), st.sampled_from(["thousand", "pixels"]))
def test_a_box_survives_the_way_to_the_model_and_back(x, y, side, frame):
    box = (x, y, x + side, y + side)
    back = to_source(to_model(box, frame, VIEW, SOURCE), frame, VIEW, SOURCE)
    unit = {"thousand": 0.64, "pixels": 480 / 224}[frame]
    assert all(abs(a - b) <= unit / 2 + 1e-9 for a, b in zip(box, back, strict=True))


@given(st.sampled_from(["thousand", "pixels"]), st.lists(st.integers(0, 2000), min_size=4, max_size=4))
def test_a_box_snapped_outward_encloses_what_it_was_within_the_image(frame, numbers):
    (x0, x1), (y0, y1) = sorted(numbers[:2]), sorted(numbers[2:])
    view, source = (560, 420), (max(x1, 1), max(y1, 1))
    for step in (1, 40) if frame == "thousand" else (1,):
        written = to_model((x0, y0, x1, y1), frame, view, source, step, outward=True)
        a, b, c, d = to_source(written, frame, view, source)
        assert not any(v % step for v in written)
        assert -0.01 < a < x0 + 0.01 and -0.01 < b < y0 + 0.01
        assert x1 - 0.01 < c < source[0] + 0.01 and y1 - 0.01 < d < source[1] + 0.01


def test_frames_by_hand():
    assert to_source((160, 112, 320, 224), "pixels", VIEW, SOURCE) == (320, 240, 640, 480)
    assert to_source((500, 500, 1000, 1000), "thousand", VIEW, SOURCE) == (320, 240, 640, 480)
    assert to_model((320, 240, 640, 480), "thousand", VIEW, SOURCE, step=20) == (500, 500, 1000, 1000)
