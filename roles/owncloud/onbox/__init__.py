"""The program on the box that keeps its cloud: standard library only, put to ``/usr/lib/hearth/hearth_cloud``.

It derives what is to be done from the machine each time, so it can be killed anywhere and run again; the order of its
verbs and what each leaves on the disk is told in docs/owncloud.md.
"""
