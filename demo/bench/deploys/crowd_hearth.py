"""The workload as hearth's roles would have it: what belongs together is asked and put in one piece."""

from pathlib import Path

from pyinfra.operations import files

from demo.bench import workload
from hearth import artefacts, layout, operators, packages

APPLY = Path(artefacts.__file__).parent / "onhost/apply.py"

packages.installed(name="Install the packages", names=workload.PACKAGES)
operators.present(name="Make the members' accounts", names=workload.USERS)
# The program that artefacts.put relies on; its unit for the boot needs a booted host.
artefacts.put_alone(
    name="Put the program that changes files as one",
    artefact=artefacts.File(layout.APPLY, APPLY.read_bytes(), mode="755"),
)
for path, mode in workload.DIRECTORIES.items():
    files.directory(name=f"Make {path}", path=path, mode=mode, user="root", group="root")
artefacts.put(
    name="Put the files, keys, lines and links",
    change="bench",
    artefacts=(
        *(artefacts.File(path, text, mode=mode) for path, (text, mode) in workload.FILES.items()),
        *(artefacts.File(path, text) for path, text in workload.KEYS.items()),
        artefacts.File(workload.LINES_FILE, "".join(f"{line}\n" for line in workload.LINES)),
        *(artefacts.Link(path, target) for path, target in workload.LINKS.items()),
    ),
)
