<?php

declare(strict_types=1);

namespace OC\DAV;

use XMLWriter;

/** The XML that DAV speaks: answers to PROPFIND, and errors. */
final class Multistatus
{
    private readonly XMLWriter $xml;

    public function __construct()
    {
        $this->xml = new XMLWriter();
        $this->xml->openMemory();
        $this->xml->startDocument('1.0', 'utf-8');
        $this->xml->startElementNs('d', 'multistatus', 'DAV:');
        $this->xml->writeAttribute('xmlns:oc', 'http://owncloud.org/ns');
        $this->xml->writeAttribute('xmlns:cal', 'urn:ietf:params:xml:ns:caldav');
        $this->xml->writeAttribute('xmlns:card', 'urn:ietf:params:xml:ns:carddav');
    }

    /**
     * @param list<string> $names the resource's path after /remote.php
     * @param list<string> $types its resource types, such as "d:collection"
     * @param array<string, string> $properties text by prefixed name; "href:NAME" holds an address
     */
    public function add(array $names, array $types, array $properties): void
    {
        $href = self::href($names) . ($types !== [] ? '/' : '');
        $this->xml->startElement('d:response');
        $this->xml->writeElement('d:href', $href);
        $this->xml->startElement('d:propstat');
        $this->xml->startElement('d:prop');
        $this->xml->startElement('d:resourcetype');
        foreach ($types as $type) {
            $this->xml->writeElement($type);
        }
        $this->xml->endElement();
        foreach ($properties as $name => $value) {
            if (str_starts_with($name, 'href:')) {
                $this->xml->startElement(substr($name, 5));
                $this->xml->writeElement('d:href', $value);
                $this->xml->endElement();
            } else {
                $this->xml->writeElement($name, $value);
            }
        }
        $this->xml->endElement();
        $this->xml->writeElement('d:status', 'HTTP/1.1 200 OK');
        $this->xml->endElement();
        $this->xml->endElement();
    }

    public function send(): void
    {
        $this->xml->endElement();
        http_response_code(207);
        header('Content-Type: application/xml; charset=utf-8');
        echo $this->xml->outputMemory();
    }

    /** @param list<string> $names */
    public static function href(array $names): string
    {
        return '/remote.php/' . implode('/', array_map('rawurlencode', $names));
    }

    public static function error(int $status, string $message): void
    {
        http_response_code($status);
        header('Content-Type: application/xml; charset=utf-8');
        echo '<?xml version="1.0" encoding="utf-8"?>', "\n",
            '<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:message>',
            htmlspecialchars($message, ENT_XML1), '</s:message></d:error>', "\n";
    }
}
