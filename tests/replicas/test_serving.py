"""Copies under Ray Serve: skipped, and said so, where Ray is not installed (pip install 'agvas[replicas]')."""

import importlib.util
import inspect
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from agvas_core import load_engine
from agvas_core.cli.app import app
from agvas_core.replicas import serving
from agvas_core.replicas.serving import build_app, local_replicas, parse_replicas
from agvas_core.structures import Conversation, Done, MaskReady, Request, TextDelta

ROOT = Path(__file__).parents[2]
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="RAY IS NOT INSTALLED: pip install 'agvas[replicas]'")


def test_numbers_of_replicas():
    assert parse_replicas("2") == (2, 2) and parse_replicas("1-4") == (1, 4)
    for wrong in ("0", "4-1", "many", "", "-2", "2-x"):
        with pytest.raises(ValueError, match="number of replicas"):
            parse_replicas(wrong)


def test_without_ray_the_commands_say_what_to_install(monkeypatch, tmp_path, picture):
    from PIL import Image

    Image.fromarray(picture(1).rgb).save(tmp_path / "a.png")
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: None)
    for command in (["serve"], ["demo", "--replicas", "2"], ["inspect", str(tmp_path), "--replicas", "2"]):
        error = CliRunner().invoke(app, command).exception
        assert isinstance(error, ValueError) and "agvas[replicas]" in str(error), command


def test_copies_that_are_started_again_have_the_same_token(monkeypatch):
    """Ray reads it once in a process: a second start once failed with "InvalidAuthToken"."""
    for name in (*serving.CLOSED, "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    serving._close_ray()
    token = os.environ["RAY_AUTH_TOKEN"]
    serving._close_ray()
    assert os.environ["RAY_AUTH_TOKEN"] == token and len(token) == 64
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_wrong_address_is_said_before_anything_starts(tmp_path, picture):
    from PIL import Image

    Image.fromarray(picture(1).rgb).save(tmp_path / "a.png")
    for options, words in (
        (["--serve", "here"], "like http://"),
        (["--serve", "http://a", "--replicas", "2"], "one of"),
    ):
        error = CliRunner().invoke(app, ["inspect", str(tmp_path), *options]).exception
        assert isinstance(error, ValueError) and words in str(error)


def test_the_example_of_autoscaling_names_what_is_there():
    config = yaml.safe_load((ROOT / "docs" / "replicas.yaml").read_text())
    (application,) = config["applications"]
    module, name = application["import_path"].split(":")
    assert (module, name) == (build_app.__module__, build_app.__name__)
    assert set(application["args"]) <= set(inspect.signature(local_replicas).parameters)
    least, most = parse_replicas(application["args"]["replicas"])
    assert least < most
    assert config["http_options"]["host"] == "127.0.0.1"
    if HAS_RAY:
        from ray.serve.schema import ServeDeploySchema

        assert ServeDeploySchema(**config).applications
        scaling = build_app(application["args"])._bound_deployment._deployment_config.autoscaling_config
        assert (scaling.min_replicas, scaling.max_replicas) == (least, most)


@pytest.fixture(scope="module")
def remote(checkpoint):
    """Two copies of a small model."""
    with local_replicas(str(checkpoint), "2") as address:
        yield load_engine(address)


def ask(engine, image, mode="explain", stop=None, words="what is it?"):
    events = engine.respond(
        Conversation().with_image(image), Request(words, image.image_id, mode=mode, max_new_tokens=48), stop=stop
    )
    return list(events)


def seen(events):
    masks = [e.prediction for e in events if isinstance(e, MaskReady)]
    return masks, "".join(e.text for e in events if isinstance(e, TextDelta)), events[-1]


@needs_ray
@pytest.mark.slow
def test_copies_answer_keep_their_images_and_survive_a_kill(remote, checkpoint, picture):
    """One test, for starting Ray takes longer than all of it."""
    alone = load_engine(str(checkpoint))
    images = [picture(seed) for seed in range(8)]
    expected = [seen(ask(alone, image)) for image in images]
    homes = [remote.replica_of(image) for image in images]
    assert homes == [remote.replica_of(image) for image in images] and len({h["pid"] for h in homes}) == 2
    assert remote.card == alone.card
    assert ask(remote, images[0], "direct")[-1].mode == "direct"
    assert ask(remote, images[0], "direct")[-1].seconds["encode"] < 0.01  # the second time it is known there
    stop, words = threading.Event(), 0
    for event in remote.respond(Conversation().with_image(images[1]), Request("", images[1].image_id), stop=stop):
        words += isinstance(event, TextDelta)
        if words:
            stop.set()
    assert words <= 2 and isinstance(event, Done) and event.stopped
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    with ThreadPoolExecutor(8) as pool:
        talks = [pool.submit(ask, remote, image) for image in images]
        time.sleep(0.1)
        os.kill(homes[0]["pid"], signal.SIGKILL)
        got = [seen(talk.result(timeout=120)) for talk in talks]
    for (masks, text, done), (masks_alone, text_alone, done_alone) in zip(got, expected, strict=True):
        assert text == text_alone and done.tokens == done_alone.tokens and not done.stopped
        assert len(masks) == len(masks_alone) == 1
        np.testing.assert_allclose(masks[0].anomaly_map, masks_alone[0].anomaly_map, atol=1e-4)
    now = {remote.replica_of(image)["pid"] for image in images}
    assert homes[0]["pid"] not in now
    for image, home in zip(images, homes, strict=True):
        if home["pid"] != homes[0]["pid"]:
            assert remote.replica_of(image)["replica"] == home["replica"]
