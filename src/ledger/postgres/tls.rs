//! What a server has to prove by its certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Cause, NoConnection, SslMode};

/// What is spoken within TLS; asked for where TLS begins without a word before it.
const PROTOCOL: &[u8] = b"postgresql";

/// What TLS needs; where there is none, nothing is trusted.
pub(super) fn connector(
    mode: SslMode,
    authorities: Option<&Path>,
) -> Result<MakeRustlsConnect, NoConnection> {
    let provider = Arc::new(ring::default_provider());
    let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| no_roots(&error))?;
    let tls = match (mode, authorities) {
        (SslMode::Disable, _) => tls.with_root_certificates(RootCertStore::empty()),
        (SslMode::VerifyFull, None) => tls
            .with_platform_verifier()
            .map_err(|error| no_roots(&error))?,
        (SslMode::VerifyFull, Some(file)) => tls.with_root_certificates(roots(file)?),
        (SslMode::Require | SslMode::VerifyCa, file) => {
            let roots = file.map(roots).transpose()?;
            let verifier = Arc::new(AnyName { roots, provider });
            tls.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    let mut tls = tls.with_no_client_auth();
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(MakeRustlsConnect::new(tls))
}

fn no_roots(error: &rustls::Error) -> NoConnection {
    let why = format!(
        "this machine has no certificates of authorities to trust: install ca-certificates, name a file of them in SSL_CERT_FILE, or that of the server's own authority in the address (sslrootcert=FILE) ({error})"
    );
    NoConnection {
        why,
        cause: Cause::Machine,
    }
}

/// The authorities in a file.
fn roots(file: &Path) -> Result<RootCertStore, NoConnection> {
    let useless = |why: &dyn std::fmt::Display| NoConnection {
        why: format!(
            "sslrootcert={} has no certificates of authorities in PEM that could be read ({why})",
            file.display()
        ),
        cause: Cause::Machine,
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| useless(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| useless(&error))?;
        roots.add(certificate).map_err(|error| useless(&error))?;
    }
    if roots.is_empty() {
        return Err(useless(&"there is none in it"));
    }
    Ok(roots)
}

/// Takes a certificate for any name; of one of these authorities, where there are any.
#[derive(Debug)]
struct AnyName {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(certificate)?,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}
