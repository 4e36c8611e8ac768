"""Runs over the whole fleet: waves, gates, budgets and the records that say what became of each host."""
