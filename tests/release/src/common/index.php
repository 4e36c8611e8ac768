<?php

declare(strict_types=1);

use OC\Http\Page;
use OC\Server;

try {
    require_once __DIR__ . '/lib/base.php';
    Page::refuseForeignHost();
    if (!Server::config()->installed()) {
        Page::show(200, 'Not installed yet: run occ maintenance:install.');
    } elseif (Server::needsUpgrade()) {
        Page::show(503, 'Update needed: run occ upgrade.');
    } elseif (Server::config()->get('maintenance', false)) {
        Page::show(503, 'This server is currently in maintenance mode, which may take a while.');
    } elseif (in_array($_SERVER['REDIRECT_STATUS'] ?? '200', ['403', '404'], true)) {
        // Reached through the ErrorDocument lines that `occ maintenance:update:htaccess` adds.
        Page::show((int) $_SERVER['REDIRECT_STATUS'], 'There is nothing to see at this address.');
    } elseif (str_ends_with(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/', '/login')) {
        Page::show(200, 'Log in with a DAV client: there is no web interface here.');
    } else {
        header('Location: ' . Page::address() . '/index.php/login', true, 302);
    }
} catch (Throwable $error) {
    error_log((string) $error);
    http_response_code(500);
    header('Content-Type: text/plain');
    echo 'Internal Server Error';
}
