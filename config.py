"""pyinfra's own settings file: it runs before every ``pyinfra INVENTORY …`` that is started in this folder.

With it ``pyinfra inventory/ deploys/box.py`` takes a folder that holds a fleet.yaml; see docs/inventory.md. A run over
the fleet (``hearth converge``) starts the same command, and has it report; see docs/fleet.md.
"""

from pyinfra.context import config

from hearth.asking.stages import ask_at_once
from hearth.fleet.reporter import report_if_asked
from hearth.inventory.stock import teach_pyinfra

teach_pyinfra()
ask_at_once()
report_if_asked()
# In seconds. A box behind a slow home line and two hops needs more than pyinfra's 10.
config.CONNECT_TIMEOUT = 20
