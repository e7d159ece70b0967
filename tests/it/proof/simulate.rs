//! Whole campaigns in virtual time, thousands of them.
