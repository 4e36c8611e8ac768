"""The program that the router role puts on the relay; standard library only."""
