//! Where a ledger is: a file, or a server.

use std::fmt;
use std::path::{Path, PathBuf};

use super::postgres::{Address, AddressError};

/// Where a ledger is.
#[derive(Clone, Debug)]
pub enum At {
    /// In this file.
    File(PathBuf),
    /// On this server.
    Server(Box<Address>),
}

impl At {
    /// Reads what was given as `--ledger`: the address of a database, or else the name of a file.
    /// `variable` gives variables of the environment: the password may stand in one.
    ///
    /// # Errors
    /// When an address does not say clearly what is meant.
    pub fn parse(
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, AddressError> {
        if Address::is_meant_by(text) {
            return Ok(Self::Server(Box::new(Address::parse(text, variable)?)));
        }
        Ok(Self::File(text.into()))
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }
}

impl fmt::Display for At {
    /// As people and commands name it; never with a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server(address) => f.write_str(address.public()),
        }
    }
}

impl From<&Path> for At {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for At {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Self> for At {
    fn from(at: &Self) -> Self {
        at.clone()
    }
}
