//! TLS for tests: an authority made on the spot, and servers with certificates from it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring::default_provider as ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::NamedTempFile;

use super::workdir::Otpdrive;

pub type Version = &'static SupportedProtocolVersion;

pub type Config = Arc<ServerConfig>;

/// An authority that the program trusts, for the tests that say so.
pub struct Authority {
    pub issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// The file with its own certificate.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// A certificate like this from it, and its key, both in PEM.
    pub fn pem(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A server with nothing wrong about it.
    pub fn good(&self, version: Version) -> Config {
        self.server(version, &localhost(), false)
    }

    /// A server with a certificate like this from it, which may ask its clients for theirs.
    pub fn server(&self, version: Version, params: &CertificateParams, asks: bool) -> Config {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let mut verifier = WebPkiClientVerifier::no_client_auth();
        if asks {
            let it = WebPkiClientVerifier::builder_with_provider(roots.into(), ring().into());
            verifier = it.build().unwrap();
        }
        let config = ServerConfig::builder_with_provider(ring().into());
        let config = config.with_protocol_versions(&[version]).unwrap();
        let config = config.with_client_cert_verifier(verifier);
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = config.with_single_cert(vec![certificate.der().clone()], key);
        config.unwrap().into()
    }
}

/// The name that certificates are for.
pub fn localhost() -> CertificateParams {
    CertificateParams::new(["localhost".to_owned()]).unwrap()
}

/// Has the program trust this authority, and nobody else.
pub fn trusting(command: Otpdrive, authority: Option<&Authority>) -> Otpdrive {
    match authority {
        Some(it) => command.env("SSL_CERT_FILE", it.path().to_str().unwrap()),
        None => command,
    }
}
