//! Disks that are full, broken or lie: nothing leaves that cannot be recorded.
