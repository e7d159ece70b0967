//! The order of durability, as the system calls show it.
