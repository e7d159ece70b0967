//! Codes that wait on a server are sealed before they reach it: what is deleted there lives on in dead
//! rows, logs and backups.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};

use crate::job::JobId;
use crate::ledger::tables::error::{Fault, Result};
use crate::text::hex;

/// How codes are sealed: with a key made from the API key and the ledger's salt.
pub enum Sealing {
    /// With this key.
    Key(Box<LessSafeKey>),
    /// There is no API key: none can be read or written.
    None,
}

impl Sealing {
    /// With a key made from these.
    pub fn with(key: &SecretString, salt: &[u8]) -> Self {
        let salt = Salt::new(HKDF_SHA256, salt);
        let made = salt.extract(key.expose_secret().as_bytes());
        let made = made.expand(&[b"otpdrive codes"], &CHACHA20_POLY1305);
        match made {
            Ok(made) => Self::Key(Box::new(LessSafeKey::new(UnboundKey::from(made)))),
            Err(_) => Self::None,
        }
    }

    /// A code as it is stored: hex digits of a nonce and of the sealed code.
    pub fn seal(&self, job: JobId, code: &str) -> String {
        let Self::Key(key) = self else {
            return String::new();
        };
        let mut nonce = [0; NONCE_LEN];
        let mut bytes = code.as_bytes().to_vec();
        let filled = SystemRandom::new().fill(&mut nonce);
        let sealed = filled.and_then(|()| {
            let unique = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(unique, of(job), &mut bytes)
        });
        match sealed {
            Ok(()) => hex(&nonce) + &hex(&bytes),
            Err(_) => String::new(),
        }
    }

    /// A stored code.
    pub fn open(&self, job: JobId, sealed: &str) -> Result<SecretString> {
        let Self::Key(key) = self else {
            return Ok(SecretString::default());
        };
        let opened = bytes(sealed).and_then(|mut bytes| {
            let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let code = key.open_in_place(nonce, of(job), sealed).ok()?;
            Some(SecretString::from(std::str::from_utf8(code).ok()?))
        });
        opened.ok_or_else(|| {
            Fault::Refused(
                "its codes were sealed with another API key: use that one, or give the codes as a new campaign (--campaign)"
                    .to_owned(),
            )
        })
    }
}

fn of(job: JobId) -> Aad<[u8; 8]> {
    Aad::from(job.0.to_le_bytes())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty()
        .then(|| pairs.iter().map(byte).collect::<Option<_>>())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_back_by_its_job_and_key_and_by_no_other() {
        let sealing = |key: &str| Sealing::with(&SecretString::from(key), b"salt");
        let (ours, other) = (sealing("KKone"), sealing("KKtwo"));
        let sealed = ours.seal(JobId(7), "004512");
        assert!(!sealed.contains("004512"));
        assert_ne!(sealed, ours.seal(JobId(7), "004512"), "no two are alike");
        let opened = ours.open(JobId(7), &sealed).unwrap();
        assert_eq!(opened.expose_secret(), "004512");
        assert!(ours.open(JobId(8), &sealed).is_err());
        assert!(other.open(JobId(7), &sealed).is_err());
        for cut in ["", "0", "zz", &sealed[..20]] {
            assert!(ours.open(JobId(7), cut).is_err(), "{cut}");
        }
    }
}
