import subprocess

from demo.bench.questions import script


def test_every_question_is_asked_whatever_the_one_before_did() -> None:
    asked = script(["echo first; exit 3", "cat", "ls /nowhere", "cd / && pwd", "pwd # here"])

    done = subprocess.run(["sh"], input=asked, capture_output=True, text=True, cwd="/usr", check=False)

    said = done.stdout.splitlines()
    assert done.returncode == 0
    assert done.stderr == ""
    assert said[0] == "first"
    assert "/nowhere" in said[1]
    assert said[2:] == ["/", "/usr"]
