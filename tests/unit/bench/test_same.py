from pathlib import Path

from demo.bench.same import differences, manifest


def tree(root: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = root / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
    return root


def test_the_same_files_are_the_same_whatever_a_tool_keeps_for_itself(tmp_path: Path) -> None:
    one, other = tree(tmp_path / "one", conf="a = 1\n"), tree(tmp_path / "other", conf="a = 1\n")
    (other / "root/.ansible").mkdir(parents=True)
    (other / "root/.ansible/cache").write_text("mine")

    assert differences(manifest(one), manifest(other)) == []


def test_another_byte_mode_or_target_is_a_difference(tmp_path: Path) -> None:
    one = tree(tmp_path / "one", text="a\n", mode="b\n", gone="c\n")
    other = tree(tmp_path / "other", text="A\n", mode="b\n", more="d\n")
    (other / "etc/mode").chmod(0o600)
    for root, target in ((one, "x"), (other, "y")):
        (root / "etc/link").symlink_to(target)

    found = differences(manifest(one), manifest(other))

    assert [words.partition(":")[0] for words in found] == [
        "/etc/gone",
        "/etc/link",
        "/etc/mode",
        "/etc/more",
        "/etc/text",
    ]
    assert "absent here" in found[0]
    assert "644" in found[2]
    assert "600" in found[2]


def test_a_folders_mode_counts_where_the_workload_has_it(tmp_path: Path) -> None:
    roots = [tree(tmp_path / name, conf="a\n") for name in ("one", "other")]
    (roots[1] / "etc").chmod(0o700)

    assert differences(*(manifest(root) for root in roots)) == []
    assert len(differences(*(manifest(root, {"etc"}) for root in roots))) == 1


def test_what_was_written_anew_as_the_floor_has_it_is_no_change(tmp_path: Path) -> None:
    floor = tree(tmp_path / "floor", kept="a\n", changed="b\n")
    upper = tree(tmp_path / "upper", kept="a\n", changed="c\n")

    assert list(manifest(upper, floor=[floor])) == ["etc/changed"]
