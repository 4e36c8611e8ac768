"""What the verbs of ``hearth`` do: parse, call the engine, print."""
