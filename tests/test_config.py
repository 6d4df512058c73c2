import json
from dataclasses import FrozenInstanceError

import pytest
import torch

from agvas_core.config import PRESETS, AGVASConfig, get_preset
from agvas_core.modeling.agvas import TokenIds, build_agvas
from tests.conftest import small_config


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_round_trips(name, tmp_path):
    config = get_preset(name)
    assert config.preset == name
    config.save(tmp_path / "config.json")
    assert AGVASConfig.load(tmp_path / "config.json") == config


def test_tuples_of_names_round_trip(tmp_path):
    config = small_config(region_kinds=("scratch", "hole"))
    config.save(tmp_path / "config.json")
    assert AGVASConfig.load(tmp_path / "config.json").decoder.region_kinds == ("scratch", "hole")


def changed(tmp_path, change):
    path = tmp_path / "config.json"
    get_preset("nano").save(path)
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    return path


def test_sizes_in_px_of_older_configs_become_shares(tmp_path):
    def older(raw):
        del raw["serving_also"]
        raw["serving_also_px"] = [192]

    assert AGVASConfig.load(changed(tmp_path, older)).serving_also == (0.5,)


def test_unknown_fields_are_named(tmp_path):
    path = changed(tmp_path, lambda raw: raw.update(moons=2))
    with pytest.raises(ValueError, match="AGVASConfig does not know: moons"):
        AGVASConfig.load(path)
    path = changed(tmp_path, lambda raw: raw["llm"].update(experts=8))
    with pytest.raises(ValueError, match="LLMConfig does not know: experts"):
        AGVASConfig.load(path)


def test_a_missing_field_and_a_damaged_file_are_named(tmp_path):
    path = changed(tmp_path, lambda raw: raw.pop("preset"))
    with pytest.raises(ValueError, match=r"config\.json lacks a field of AGVASConfig.*preset"):
        AGVASConfig.load(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        AGVASConfig.load(path)


def test_an_unknown_preset_lists_the_names():
    with pytest.raises(ValueError, match="'mega'.*nano.*onevision-7b"):
        get_preset("mega")


def test_a_config_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        get_preset("nano").preset = "other"  # type: ignore[misc]


def test_placeholders_follow_the_switches():
    tokens = get_preset("tiny-test").semantic.tokens
    assert small_config().image_tokens == 2 * tokens
    assert small_config(use_spam=False).image_tokens == tokens
    assert small_config().region_tokens == 1
    assert small_config(use_region_tokens=False).region_tokens == 0


def test_the_bundled_presets_keep_within_their_size():
    for name, most in (("nano", 26e6), ("mini", 28e6)):
        with torch.device("meta"):
            model = build_agvas(get_preset(name), TokenIds(0, 0, (0, 0, 0)))
        assert sum(p.numel() for p in model.parameters()) < most
