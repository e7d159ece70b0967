//! The program `otpdrive`; see the library for how the house stands.

fn main() -> otpdrive::cli::Exit {
    otpdrive::cli::main()
}
