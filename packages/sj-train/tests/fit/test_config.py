import dataclasses
import json
import math

import pytest

from sj_train.fit import ConfigError, FitConfig, RunError


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("time_steps", 0, "at least 1"),
        ("epochs", -3, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("workers", -1, "at least 0"),
        ("lr", 0.0, "positive"),
        ("lr", math.nan, "positive"),
        ("lr", math.inf, "positive and finite"),
        ("tau", math.inf, "greater than 1 and finite"),
        ("v_threshold", -1.0, "positive"),
        ("tau", 1.0, "greater than 1"),
        ("tet_lambda", 1.5, r"\[0, 1\]"),
        ("v_reset", 1.0, "below `v_threshold`"),
        ("model", "transformer", "mlp, cnn"),
        ("encoder", "rate", "direct, poisson, latency"),
        ("precision", "8", "32, 16-mixed"),
        ("seed", 2**64, r"below 2\*\*64"),
        ("sltt_k", 9, r"not exceed `time_steps` \(=4\)"),
    ],
)
def test_a_bad_value_names_field_value_and_rule(field, value, rule):
    with pytest.raises(ConfigError, match=rule) as caught:
        FitConfig(**{field: value})
    assert str(caught.value).startswith(f"`{field}` (={value})")
    assert str(caught.value).endswith(".")
    assert caught.value.as_flag().startswith("`--" + field.replace("_", "-"))


def test_every_field_has_a_group_and_a_help():
    for spec in dataclasses.fields(FitConfig):
        assert spec.metadata["group"], spec.name
        assert spec.metadata["help"], spec.name


def test_settings_survive_a_file(tmp_path):
    config = FitConfig(v_reset=None, lr=1e-4, compile=True, data="x.npz", time_steps=7)
    config.save(tmp_path / "config.json")
    assert FitConfig.load(tmp_path / "config.json") == config
    assert json.loads((tmp_path / "config.json").read_text())["v_reset"] is None


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"config.json` is missing"):
        FitConfig.load(tmp_path / "config.json")
    for content in ('{"epochs": ', "[1]", '{"epochs": "three"}', '{"lr": null}', '{"x": 1}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(RunError, match=r"config.json` is damaged"):
            FitConfig.load(tmp_path / "config.json")
    with pytest.raises(RunError, match="is no run folder"):
        FitConfig.load(tmp_path / "config.json" / "config.json")


def test_a_setting_of_another_version_is_named():
    with pytest.raises(ConfigError, match="`momentum`"):
        FitConfig.from_dict({"momentum": 0.9})


def test_one_sample_is_a_batch_only_where_batch_normalisation_has_more_values():
    assert FitConfig(batch_size=1, time_steps=2).batch_size == 1
    assert FitConfig(batch_size=1, time_steps=1, model="rnn").batch_size == 1
    for settings in ({"time_steps": 1}, {"method": "sltt"}):
        with pytest.raises(ConfigError, match=r"`batch_size` \(=1\) must be at least 2"):
            FitConfig(batch_size=1, **settings)
