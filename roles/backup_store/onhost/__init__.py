"""What runs on a store: quotas, and the retention that no box's root can lead astray. See docs/backup.md."""
