<?php

declare(strict_types=1);

use OC\DAV\Multistatus;
use OC\DAV\Server as DavServer;
use OC\Http\Page;

try {
    require_once __DIR__ . '/lib/base.php';
    Page::refuseForeignHost();
    (new DavServer())->serve();
} catch (Throwable $error) {
    error_log((string) $error);
    Multistatus::error(500, 'Internal Server Error');
}
