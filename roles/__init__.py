"""One package a concern of a host; see docs/roles.md."""
