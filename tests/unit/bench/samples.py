"""Results as a run of the benchmark has them, with figures that can be checked by head."""

from demo.bench.figures import Failure, Results, Run
from demo.bench.goals import ANSIBLE, FIFTY, FIRST_BOX, FLOOR, HEARTH, MITOGEN, STOCK, UNCHANGED_BOX


def runs(*walls_s: float, cpu_s: float = 1.0) -> list[Run]:
    return [Run(wall_s, cpu_s, 0.5, 3) for wall_s in walls_s]


RESULTS = Results(
    {
        UNCHANGED_BOX: {
            FLOOR: runs(1, 1, 1),
            HEARTH: runs(2, 1, 2),
            STOCK: runs(30, 40, 50),
            MITOGEN: runs(8, 8, 8),
            ANSIBLE: runs(60),
        },
        FIFTY: {HEARTH: runs(10, cpu_s=2.0), MITOGEN: runs(100, cpu_s=40.0)},
    },
    [Failure(FIRST_BOX, MITOGEN, "it ended with status 4: unreachable | gone\nand more")],
)
