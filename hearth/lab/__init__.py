"""Real Debian hosts on one machine: see docs/lab.md."""
