import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mags_kit.config import NETWORKS
from mags_kit.method import magnifier
from mags_kit.method.magnifier import PACKAGED, Magnifier, draw_view, super_resolve

COMPACT = "realesr-animevideov3"
sides = st.integers(1, 700)


@given(sides, sides, sides, sides, st.sampled_from(["bicubic", "none"]), st.sampled_from([28, 32]))
def test_views_fit_the_processor_and_the_budget(x, y, w, h, network, factor):
    size = (max(700, x + w), max(700, y + h))
    made = Magnifier(network, 128 * 128, factor)
    cut = made.crop_box((x, y, x + w, y + h), size)
    assert 0 <= cut[0] < cut[2] <= size[0] and 0 <= cut[1] < cut[3] <= size[1]
    width, height = made.view_size(cut[2] - cut[0], cut[3] - cut[1])
    assert width % factor == height % factor == 0 < width * height <= 128 * 128


def test_crops_come_from_the_original_pixels():
    """A one-pixel mark that no downscaled image would show is in the view."""
    image = Image.new("RGB", (2000, 1500))
    image.putpixel((1234, 777), (255, 0, 0))
    view, record = Magnifier("none", 128 * 128, 32).view(image, (1210, 750, 1260, 800))
    assert np.asarray(view)[..., 0].max() > 100
    assert record.box[0] <= 1210 and record.box[2] >= 1260


def test_a_margin_is_added_on_each_side():
    assert Magnifier("none", 10**6, 32, margin=0.5).crop_box((100, 100, 200, 300), (900, 900)) == (50, 0, 250, 400)
    assert Magnifier("none", 10**6, 32, margin=0).crop_box((100, 100, 200, 300), (900, 900)) == (100, 100, 200, 300)


@pytest.mark.parametrize("network", [COMPACT, "realesrgan-x4plus-anime"])
def test_networks_enlarge_four_times(network):
    """A sharp edge blurred by downscaling is steeper than by bicubic interpolation."""
    sharp = Image.new("L", (96, 96))
    sharp.paste(255, (48, 0, 96, 96))
    small = sharp.convert("RGB").resize((24, 24), Image.BICUBIC)
    both = super_resolve(small, network), small.resize((96, 96), Image.BICUBIC)
    ours, bicubic = (np.abs(np.diff(np.asarray(i.convert("L"), float)[48])).max() for i in both)
    assert both[0].size == (96, 96) and ours > bicubic


def test_views_are_stored_by_content_and_network(tmp_path):
    image = Image.effect_noise((100, 100), 60).convert("RGB")
    made = Magnifier(COMPACT, 64 * 64, 32, cache_dir=tmp_path)
    first, record = made.view(image, (10, 10, 40, 40))
    again, _ = made.view(image, (10, 10, 40, 40))
    assert np.array_equal(first, again) and len(list(tmp_path.rglob("*.png"))) == 1
    assert np.array_equal(draw_view(image, record, made.network), first)
    made.view(image, (10, 10, 41, 40))
    assert len(list(tmp_path.rglob("*.png"))) == 2


def test_names_and_weights_are_checked(monkeypatch):
    assert NETWORKS == tuple(PACKAGED)
    with pytest.raises(ValueError, match="'lens' is unknown; expected one of realesr-animevideov3"):
        Magnifier("lens", 128 * 128, 32)
    monkeypatch.setitem(PACKAGED, COMPACT, (PACKAGED[COMPACT][0], "0" * 40, 0))
    with pytest.raises(ValueError, match="sha256"):
        magnifier.load_network.__wrapped__(COMPACT)
