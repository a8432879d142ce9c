"""Attacks against closed forms and loops over single images in double precision."""

import contextlib

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from mnist_lab.models import MLP, ConvNet, LeNet, ensemble
from mnist_lab.models.attacks import FGSM, PGD, as_floats


def linear(seed=0, classes=2):
    """Logits that are linear in the pixels, normalised by numbers that are not 0 and 1."""
    torch.manual_seed(seed)
    model = MLP(hidden=[], image_size=4, num_classes=classes)
    model.normalise_by(torch.tensor([0.3]), torch.tensor([0.4]))
    return model.double().eval()


def some(count=20, size=4, classes=2):
    torch.manual_seed(1)
    images = torch.rand(count, 1, size, size, dtype=torch.double)
    return images.round(decimals=2), torch.arange(count) % classes  # some of them 0 and 1


@pytest.mark.parametrize("resize", ["bilinear", "pad"])
@pytest.mark.parametrize("normalize", ["train", "none"])
@pytest.mark.parametrize("size", [5, 7])
def test_gradients_go_through_the_preprocessing_which_leaves_images_alone(resize, normalize, size):
    model = MLP(hidden=[], image_size=7, resize=resize, normalize=normalize).double()
    if normalize == "train":
        model.normalise_by(torch.tensor([0.3]), torch.tensor([0.4]))
    images, _ = some(2, size)
    before = images.clone()
    assert gradcheck(model.preprocess, images.requires_grad_())
    assert torch.equal(images, before)


@pytest.mark.parametrize("eps", [0.0, 0.1, 1.0])
def test_one_step_on_a_linear_network_is_the_closed_form(eps):
    """Of two classes the loss rises fastest along the difference of their weights."""
    model = linear()
    images, labels = some()
    weight = model.network[-1].weight.detach().numpy()
    towards = np.sign(weight[1 - labels.numpy()] - weight[labels.numpy()]).reshape(images.shape)
    expected = np.clip(images.numpy() + eps * towards, 0, 1)
    for found in (
        FGSM(eps).last(model, images, labels),
        FGSM(eps).worst(model, images, labels),
        PGD(eps, steps=3, step_size=0.5, random_start=False).last(model, images, labels),
    ):
        np.testing.assert_allclose(found.numpy(), expected)


def one_by_one(model, images, labels, starts, *, eps, steps, step_size):
    """Each image's ascent: all places that it comes by, and by how much the label is behind."""
    for image, label, start in zip(images, labels, starts, strict=True):
        place, places, behind = start, [], []
        for step in range(steps + 1):
            place = place.clone().requires_grad_()
            logits = model(place[None])[0]
            places.append(place.detach())
            rest = [logit for k, logit in enumerate(logits.tolist()) if k != label]
            behind.append(max(rest) - logits[label].item())
            if step < steps:
                (torch.log(torch.exp(logits).sum()) - logits[label]).backward()
                moved = place.detach().numpy() + step_size * np.sign(place.grad.numpy())
                moved = np.minimum(np.maximum(moved, image.numpy() - eps), image.numpy() + eps)
                place = torch.from_numpy(np.clip(moved, 0, 1))
        yield places, behind


@pytest.mark.parametrize("resize", ["bilinear", "pad"])
@pytest.mark.parametrize("random_start", [False, True])
def test_ascents_are_those_of_a_loop_over_single_images(resize, random_start):
    torch.manual_seed(0)
    model = LeNet(resize=resize, num_classes=3, pool="max").double().eval()
    model.normalise_by(torch.tensor([0.3]), torch.tensor([0.4]))
    images, labels = some(6, 28, 3)
    settings = {"eps": 0.1, "steps": 5, "step_size": 0.04}
    attack = PGD(**settings, random_start=random_start)
    torch.manual_seed(5)
    starts = images
    if random_start:
        noise = torch.empty(images.shape, dtype=torch.double).uniform_(-0.1, 0.1)
        starts = torch.from_numpy(np.clip((images + noise).numpy(), 0, 1))
    found = {}
    for kind in ("last", "worst"):
        torch.manual_seed(5)
        found[kind] = getattr(attack, kind)(model, images, labels)
    alone = list(one_by_one(model, images, labels, starts, **settings))
    last = torch.stack([places[-1] for places, _ in alone])
    torch.testing.assert_close(found["last"], last, rtol=0, atol=1e-12)
    before = [behind for (_, (behind,)) in one_by_one(model, images, labels, images,
                                                      **{**settings, "steps": 0})]  # fmt: skip
    worst = [
        max(zip([first, *behind], [image, *places], strict=True), key=lambda pair: pair[0])[1]
        for first, image, (places, behind) in zip(before, images, alone, strict=True)
    ]
    torch.testing.assert_close(found["worst"], torch.stack(worst), rtol=0, atol=1e-12)


ATTACKS = {
    "fgsm": FGSM(0.2),
    "fgsm from a random place": FGSM(0.2, step_size=0.25, random_start=True),
    "pgd": PGD(0.2, steps=4, step_size=0.1, restarts=2),
}


def small(**settings):
    torch.manual_seed(0)
    return ConvNet(widths=((4,), (6,)), dropout=0.3, hidden=(8,), hidden_dropout=0.4, **settings)


@pytest.mark.parametrize("name", ATTACKS)
def test_changes_stay_within_bounds_and_nothing_else_changes(name):
    model = small(norm="before")
    state = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.rand(9, 1, 28, 28).round(decimals=1)
    labels = torch.arange(9)
    before = images.clone()
    for kind in ("last", "worst"):
        with model.judging():
            found = getattr(ATTACKS[name], kind)(model, images, labels)
        assert found.shape == images.shape
        assert 0 <= found.min() < found.max() <= 1
        assert 0.15 < (found - images).abs().max() <= 0.2 + 1e-6
        assert not found.requires_grad
    assert torch.equal(images, before)
    assert model.training
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_random_start_follows_the_generator():
    model, images, labels = small().eval(), torch.rand(3, 1, 28, 28), torch.arange(3)

    def start(seed):
        torch.manual_seed(seed)
        return PGD(0.1, steps=1, step_size=0.0).last(model, images, labels)

    assert torch.equal(start(1), start(1))
    moves = start(1) - images
    inside = moves[(images > 0.1) & (images < 0.9)]
    assert (start(2) != start(1)).float().mean() > 0.9
    assert -0.1 <= inside.min() < -0.09
    assert 0.09 < inside.max() <= 0.1
    assert abs(inside.mean()) < 0.01


def test_in_half_precision_an_attack_is_as_exact_as_without():
    model, labels = small().eval(), torch.arange(9)
    images = torch.rand(9, 1, 28, 28)
    found = []
    for context in (contextlib.nullcontext(), torch.autocast("cpu", torch.bfloat16)):
        with context:
            found.append(FGSM(0.1).last(model, images, labels))
    assert torch.equal(*found)


def test_of_several_networks_the_mean_probability_is_attacked():
    """It falls along the mean of the gradients of probabilities, not of losses."""
    models = [linear(seed, 3) for seed in (0, 1)]
    models[1].network[-1].weight.data *= 5
    images, labels = some(classes=3)
    towards = 0.0
    for model in models:
        weight, bias = (p.detach().numpy() for p in model.network[-1].parameters())
        logits = (images.numpy().reshape(-1, 16) - 0.3) / 0.4 @ weight.T + bias
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        own = shares[np.arange(20), labels.numpy()][:, None]
        towards += own * (shares @ weight - weight[labels.numpy()])
    expected = images.numpy() + 0.01 * np.sign(towards).reshape(images.shape)
    found = ensemble.attacked(models, images, labels, FGSM(0.01), batch_size=7)
    np.testing.assert_allclose(found.numpy(), np.clip(expected, 0, 1))


def test_bytes_are_attacked_as_floats_from_0_to_1_and_by_portions_of_the_same_seed():
    model = small()
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8).repeat(2, 1, 1, 1)
    labels = torch.arange(3).repeat(2)
    state = torch.get_rng_state()
    found = ensemble.attacked(model, images, labels, PGD(0.1, 2, 0.1), seed=3, batch_size=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(found[:3], found[3:])
    torch.manual_seed(3)
    with model.judging():
        alone = PGD(0.1, 2, 0.1).worst(model, images[:3] / 255, labels[:3])
    torch.testing.assert_close(found[:3], alone)
    assert torch.equal(as_floats(images), images / 255)


@pytest.mark.parametrize(
    ("attack", "settings", "told"),
    [
        (FGSM, {"eps": -0.1}, "eps=-0.1: should be greater"),
        (FGSM, {"eps": 1.1}, "eps=1.1: should be less"),
        (FGSM, {"step_size": -0.1}, "step_size=-0.1: "),
        (PGD, {"eps": 8.0}, "eps=8.0: should be less"),
        (PGD, {"steps": -1}, "steps=-1: should be greater"),
        (PGD, {"steps": 0}, "steps=0: should be greater"),
        (PGD, {"restarts": 0}, "restarts=0: should be greater"),
        (PGD, {"step_size": 2.0}, "step_size=2.0: should be less"),
    ],
)
def test_settings_out_of_range_are_refused(attack, settings, told):
    with pytest.raises(ValueError, match=told):
        attack(**settings)
