"""The program on the box that keeps its backup: Debian's Python and segno, put to ``/usr/lib/hearth/hearth_backup``.

It derives what is to be done from the machine and the repository each time, so it can be killed anywhere and run
again; docs/backup.md tells it for people.
"""
