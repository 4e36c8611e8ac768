<?php

declare(strict_types=1);

namespace OC\Console;

use RuntimeException;

/** A command line that cannot be understood; shown on stderr, status 1. */
final class ConsoleError extends RuntimeException
{
}
