//! What is wrong with a certificate, in words.

use rustls::CertificateError;

/// The end of a sentence that begins with the certificate; `unknown` is said of one that nobody who is
/// trusted has signed.
#[must_use]
pub fn wrong_with(why: &CertificateError, unknown: &'static str) -> &'static str {
    match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, if this machine's clock is right"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, if this machine's clock is right"
        }
        CertificateError::UnknownIssuer => unknown,
        _ => "is not trusted",
    }
}
