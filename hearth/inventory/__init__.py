"""The inventory: what the fleet should be, read from YAML, checked, and handed on as frozen data."""

from hearth.inventory.faults import Fault, InventoryError
from hearth.inventory.groups import groups
from hearth.inventory.load import Loaded, load, load_or_raise

__all__ = ["Fault", "InventoryError", "Loaded", "groups", "load", "load_or_raise"]
