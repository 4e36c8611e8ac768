"""Tests on real Debian hosts."""
