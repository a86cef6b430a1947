"""Helpers of the sessions: constraint lines and digests."""

from __future__ import annotations

from pathlib import Path

import tree


def test_constraints_are_the_pins_and_a_line_for_each_package(tmp_path: Path):
    pins = tmp_path / "pins.txt"
    pins.write_text("torch==2.13.0\n")
    source = tmp_path / "a folder" / "sj-core"
    target = tree.write_constraints(tmp_path / "new" / "all.txt", pins, {"sj-core": source})
    expected = f"torch==2.13.0\nsj-core @ file://{tmp_path}/a%20folder/sj-core\n"
    assert target.read_text() == expected


def test_digest_follows_content_names_and_settings(tmp_path: Path):
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.cpp").write_text("int a;")
    first = tree.digest([source], "OFF")
    assert tree.digest([source], "OFF") == first
    assert tree.digest([source], "ON") != first
    (source / "a.cpp").write_text("int b;")
    second = tree.digest([source], "OFF")
    assert second != first
    (source / "a.cpp").rename(source / "b.cpp")
    assert tree.digest([source], "OFF") not in {first, second}


def test_digest_does_not_ask_where_the_tree_lies(tmp_path: Path):
    source = tmp_path / "tests" / "src"
    source.mkdir(parents=True)
    first = tree.digest([source])
    (source / "a.cpp").write_text("int a;")
    assert tree.digest([source]) != first


def test_digest_leaves_tests_and_caches_out(tmp_path: Path):
    (tmp_path / "p" / "tests").mkdir(parents=True)
    first = tree.digest([tmp_path / "p"])
    (tmp_path / "p" / "tests" / "test_a.py").write_text("")
    assert tree.digest([tmp_path / "p"]) == first


def test_every_package_names_itself_and_its_typing():
    for name in tree.PACKAGES:
        assert tree.metadata(name)["name"] == name
        source = tree.folder(name) / "src" / tree.module(name)
        assert (source / "py.typed").is_file()
        assert (tree.folder(name) / "LICENSE").read_text() == (tree.ROOT / "LICENSE").read_text()


def test_lowest_turns_bounds_into_pins_of_others_packages_alone():
    pins = tree.lowest("matplotlib==3.9")
    assert "torch==2.6" in pins
    assert "matplotlib==3.9" in pins
    names = [line.partition("==")[0] for line in pins]
    assert len(set(names)) == len(names)
    assert not set(names) & set(tree.PACKAGES)
