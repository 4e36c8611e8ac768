"""The ``hearth`` program as a whole."""

import subprocess
import sys


def test_a_command_that_connects_to_nothing_does_not_wait_for_the_libraries_that_connect() -> None:
    program = "import sys, hearth.cli; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "hearth.cli" in loaded
    assert {"distributed", "gevent", "paramiko", "pyinfra"} & set(loaded) == set()
