<?php

declare(strict_types=1);

namespace OC\DAV;

use RuntimeException;

/** An answer other than success: the HTTP status is its code, the message goes to the client. */
final class DavException extends RuntimeException
{
    public function __construct(int $status, string $message)
    {
        parent::__construct($message, $status);
    }
}
