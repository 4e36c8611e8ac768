"""Remote help over a support Pi: what each side starts, ready to send, and who is connected now. See docs/support.md.

``cases`` finds whom an instruction is for, ``ssh`` has the commands, ``scripts`` and ``pages`` render them; all of
that is pure. ``sessions`` asks a Pi. No key of anybody is in what comes out but the Pi's public ones.
"""
