//! The program `otpdrive`; see the library for how the house stands.

/// 10 % less CPU per OTP than with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> otpdrive::cli::Exit {
    otpdrive::cli::main()
}
