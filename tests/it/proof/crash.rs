//! Real crashes: the built program, killed at random and at named system calls, over real sockets and a real disk.
