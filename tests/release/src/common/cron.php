<?php

declare(strict_types=1);

use OC\Console\Commands\Background;
use OC\Server;

require_once __DIR__ . '/lib/base.php';

// ownCloud 11's cron.php was seen to return 0 without running anything: its jobs are run by `occ system:cron`.
if (Server::release('cron') === 'cron.php' && Server::config()->installed() && !Server::config()->get('maintenance', false)) {
    Background::runJobs();
}
