"""The program that the router_port role puts on the box; standard library only."""
