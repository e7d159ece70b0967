//! The engine, in process, with paused time.
