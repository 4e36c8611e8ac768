<?php
// An example, never read: occ maintenance:install writes config.php beside it.
$CONFIG = ['trusted_domains' => ['cloud.example.com']];
