<?php

declare(strict_types=1);

use OC\Http\Page;
use OC\Server;

try {
    require_once __DIR__ . '/lib/base.php';
    Page::refuseForeignHost(json: true);
    $answer = [
        'installed' => Server::config()->installed(),
        'maintenance' => (bool) Server::config()->get('maintenance', false),
        'needsDbUpgrade' => Server::needsUpgrade(),
        'version' => Server::release('version'),
        'versionstring' => Server::release('versionstring'),
        'edition' => Server::release('edition'),
        'productname' => Server::release('name'),
    ];
    header('Content-Type: application/json');
    header('Access-Control-Allow-Origin: *');
    echo json_encode($answer + (Server::release('status_full') ? ['extendedSupport' => false] : []));
} catch (Throwable $error) {
    http_response_code(500);
    error_log((string) $error);
}
