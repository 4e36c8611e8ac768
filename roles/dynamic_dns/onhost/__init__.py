"""The program that the dynamic_dns role puts on the box; standard library only."""
