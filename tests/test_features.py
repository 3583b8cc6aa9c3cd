"""The vision tower's memory: the same features, made once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mags_kit.method.features import Features


def patches(policy, *colours):
    """What a processor makes of plain images with some noise, one a colour."""
    rng = np.random.default_rng(0)
    images = [Image.fromarray((rng.integers(0, 99, (64, 96, 3)) + c).astype(np.uint8)) for c in colours]
    made = policy.processor.image_processor(images, return_tensors="pt")
    return made["pixel_values"], made["image_grid_thw"]


@pytest.fixture
def tower(policy):
    """The policy's tower with a memory of its own and a count of what it is really asked."""
    real, asked = policy.model.model.visual, []

    def forward(pixels, grid_thw, **options):
        asked.append(len(grid_thw))
        return type(real).forward(real, pixels, grid_thw=grid_thw, **options)

    return SimpleNamespace(forward=forward, asked=asked)


def test_features_are_the_same_to_the_last_bit_kept_or_not(policy, tower):
    pixels, grids = patches(policy, 0, 60, 120)
    tower.forward = Features(tower.forward)
    first = tower.forward(pixels, grid_thw=grids, return_dict=True)
    assert tower.asked == [1, 1, 1]
    again = tower.forward(pixels.clone(), grid_thw=grids)
    assert tower.asked == [1, 1, 1] and torch.equal(first.pooler_output, again.pooler_output)
    size = len(pixels) // 3
    alone = tower.forward(pixels[size : 2 * size], grid_thw=grids[1:2]).pooler_output
    assert torch.equal(alone, first.pooler_output[len(alone) : 2 * len(alone)])
    assert len(first.deepstack_features) == 1 and first.deepstack_features[0].shape == first.pooler_output.shape


def test_they_are_what_the_tower_makes_of_all_at_once(policy, tower):
    pixels, grids = patches(policy, 0, 60, 120)
    together = tower.forward(pixels, grid_thw=grids, return_dict=True)
    tower.forward = Features(tower.forward)
    torch.testing.assert_close(tower.forward(pixels, grid_thw=grids).pooler_output, together.pooler_output)


def test_another_image_or_shape_is_another_key(policy, tower):
    pixels, grids = patches(policy, 0)
    tower.forward = Features(tower.forward)
    tower.forward(pixels, grid_thw=grids)
    tower.forward(pixels + 1, grid_thw=grids)
    tower.forward(pixels, grid_thw=grids[:, [0, 2, 1]])
    assert len(tower.asked) == 3


def test_room_is_bounded(policy, tower):
    pixels, grids = patches(policy, 0, 60, 120)
    tower.forward = Features(tower.forward, room=1)
    for _ in range(2):
        tower.forward(pixels, grid_thw=grids)
    assert len(tower.asked) == 6


def test_no_gradient_goes_through(policy, tower):
    pixels, grids = patches(policy, 0)
    tower.forward = Features(tower.forward)
    assert not tower.forward(pixels.requires_grad_(), grid_thw=grids).pooler_output.requires_grad


def test_what_is_said_of_all_images_at_once_is_left_to_the_tower(policy, tower):
    pixels, grids = patches(policy, 0, 60)
    tower.forward = Features(tower.forward)
    lengths = grids.prod(-1).cumsum(0).int()
    tower.forward(pixels, grid_thw=grids, cu_seqlens=torch.nn.functional.pad(lengths, (1, 0)), return_dict=True)
    assert tower.asked == [2]
