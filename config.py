"""pyinfra's own settings file: it runs before every ``pyinfra INVENTORY …`` that is started in this folder.

With it ``pyinfra inventory/ deploys/box.py`` takes a folder that holds a fleet.yaml; see docs/inventory.md.
"""

from pyinfra.context import config

from hearth.inventory.stock import teach_pyinfra

teach_pyinfra()
# In seconds. A box behind a slow home line and two hops needs more than pyinfra's 10.
config.CONNECT_TIMEOUT = 20
