//! The program `otpdrive`; see the library for how the house stands.

/// A tenth less CPU an OTP than with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> otpdrive::cli::Exit {
    otpdrive::cli::main()
}
