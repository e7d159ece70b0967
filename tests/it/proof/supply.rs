//! Whose code is in the program, and under which terms.
