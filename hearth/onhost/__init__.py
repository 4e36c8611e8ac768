"""Programs that run on the hosts, standard library only; they are put there whole and never imported by the engine.

``common`` is no program, but what several of the roles' share.
"""
