"""The program that judges a host's health; it runs on the host, on Debian's own Python (3.11 or later) alone."""
