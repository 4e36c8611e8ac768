"""The workload in stock pyinfra's own operations."""

from io import StringIO

from pyinfra.operations import apt, files, server

from demo.bench import workload

apt.packages(name="Install the packages", packages=list(workload.PACKAGES))
server.group(name="Make the members' group", group=workload.GROUP, system=True)
for user in workload.USERS:
    server.user(  # noqa: S604 (it is the account's shell)
        name=f"Make {user}", user=user, shell="/bin/bash", groups=[workload.GROUP], append=True, create_home=True
    )
for path, mode in workload.DIRECTORIES.items():
    files.directory(name=f"Make {path}", path=path, mode=mode, user="root", group="root")
contents = {**workload.FILES, **{path: (text, "644") for path, text in workload.KEYS.items()}}
for path, (text, mode) in contents.items():
    files.put(name=f"Put {path}", src=StringIO(text), dest=path, mode=mode, user="root", group="root")
for path, target in workload.LINKS.items():
    files.link(name=f"Link {path}", path=path, target=target)
for line in workload.LINES:
    files.line(name=f"Have {line}", path=workload.LINES_FILE, line=line)
