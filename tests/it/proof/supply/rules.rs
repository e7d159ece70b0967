//! What is allowed. Each list is exact: what is no longer needed has to go from it.

/// The terms of the crates, as they state them: each leaves a choice of Apache-2.0, BSD-3-Clause,
/// ISC, MIT, Unicode-3.0 and Zlib, under which somebody else's code may be in the program.
pub const LICENCES: &str = "\
(Apache-2.0 OR MIT) AND BSD-3-Clause
(MIT OR Apache-2.0) AND Unicode-3.0
Apache-2.0
Apache-2.0 / MIT
Apache-2.0 AND ISC
Apache-2.0 OR BSL-1.0
Apache-2.0 OR BSL-1.0 OR MIT
Apache-2.0 OR ISC OR MIT
Apache-2.0 OR MIT
Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT
BSD-3-Clause
CC0-1.0 OR MIT-0 OR Apache-2.0
ISC
MIT
MIT OR Apache-2.0
MIT/Apache-2.0
Unicode-3.0
Unlicense OR MIT
Unlicense/MIT
Zlib
Zlib OR Apache-2.0 OR MIT";

/// Crates in more than one version, how many, and why. Those behind `rlibphonenumber` come from its
/// build script, and from crates that it has not moved on; none of them is our choice: dashmap and
/// petgraph, protox-parse, prost-reflect, miette. hashlink is rusqlite's, x509-parser something that
/// rcgen (a test's) could be told to use.
pub const TWICE: &[(&str, usize, &str)] = &[
    (
        "base64",
        2,
        "postgres-protocol is at 0.22, hyper-util at 0.23",
    ),
    ("const-oid", 2, "x509-cert is at 0.9, digest at 0.10"),
    (
        "fallible-iterator",
        2,
        "postgres-protocol is at 0.2, rusqlite at 0.3",
    ),
    ("foldhash", 2, "of hashbrown"),
    ("getrandom", 2, "ring is at 0.2, tempfile at 0.4"),
    (
        "hashbrown",
        4,
        "of dashmap, petgraph, governor and hashlink",
    ),
    ("logos", 2, "of protox-parse and prost-reflect"),
    ("logos-codegen", 2, "of logos"),
    ("logos-derive", 2, "of logos"),
    ("synstructure", 2, "one in the lock only: x509-parser"),
    ("syn", 2, "macros are half-way from 2 to 3"),
    ("thiserror", 2, "rlibphonenumber is at 1"),
    ("thiserror-impl", 2, "of thiserror"),
    ("unicode-width", 2, "of miette"),
];

/// Crates that run code on the builder's machine: build scripts and macros. Before a name is added
/// here, somebody reads what it runs.
///
/// `zeroize_derive`, which rustls has, writes impls of two traits and touches nothing else: it has no
/// build script, opens no file, starts nothing, asks for no variable.
///
/// `askama_macros` (which is `askama_derive`) reads the templates and their `askama.toml` below the
/// crate's own folder (`CARGO_MANIFEST_DIR`) and writes code: it starts nothing and writes no file.
///
/// `async-trait`, which tokio-postgres has, rewrites the functions of a trait; `der_derive` and
/// `tls_codec_derive`, which tokio-postgres-rustls has by way of x509-cert, write impls of traits that
/// read and write ASN.1 and TLS. None has a build script, opens a file, starts anything or asks for a
/// variable.
///
/// asn1-rs-derive, asn1-rs-impl, oid-registry and time-macros are of x509-parser, in the lock only
/// (see `synstructure`).
pub const AT_BUILD_TIME: &str = "
    anyhow askama_macros asn1-rs-derive asn1-rs-impl async-trait constant_time_eq crc32fast der_derive displaydoc encoding_rs futures-macro getrandom httparse
    icu_normalizer_data icu_properties_data libc libmimalloc-sys libsqlite3-sys logos-codegen
    logos-derive miette-derive multiversion_no_op num-traits oid-registry parking_lot_core portable-atomic
    prettyplease proc-macro2 prost-derive quote ref-cast ref-cast-impl ring rlibphonenumber
    rlibphonenumber_macro rustix rustls rustversion schemars_derive serde serde_core
    serde_derive serde_json strum_macros thiserror thiserror-impl time-macros tls_codec_derive tokio-macros
    tracing-attributes yoke-derive zerofrom-derive zeroize_derive zerovec-derive zmij
";

/// Crates that only the fuzzers need.
pub const FUZZ_ONLY: &[&str] = &["arbitrary", "jobserver", "libfuzzer-sys", "otpdrive-fuzz"];
