"""How a host is asked: all that its operations want to know in one command; see docs/converge.md.

``batch`` is the wire: the command, its input, and its answers. ``answers`` is what a connection remembers of them, and
until when. ``stages`` is when pyinfra's stages ask, and what they need not do then. ``thrift`` spares pyinfra work.
"""
