//! Certificates of tests: an authority, and what it vouches for, right or with one thing wrong.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// What vouches for others.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// What a certificate is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Usage {
    /// A collector.
    Server,
    /// An exporter.
    Client,
}

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// From 2020 to 2099.
    Now,
    /// In 2020.
    Past,
    /// From 2098 on.
    Future,
}

/// A certificate and its key.
pub struct Identity {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// The certificate in DER.
    pub der: Vec<u8>,
}

/// What is to stand in a certificate.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    /// Names and addresses, as subjectAltName.
    pub names: &'a [&'a str],
    /// The subject.
    pub common_name: &'a str,
    /// What it is for.
    pub usage: Usage,
    /// When.
    pub validity: Validity,
}

impl Leaf<'static> {
    /// A collector on this host.
    pub const SERVER: Self = Self {
        names: &["localhost", "127.0.0.1", "::1"],
        common_name: "collector",
        usage: Usage::Server,
        validity: Validity::Now,
    };
    /// An exporter.
    pub const CLIENT: Self =
        Self { names: &["exporter.example"], usage: Usage::Client, common_name: "exporter", ..Self::SERVER };
    /// A collector of another name.
    pub const WRONG_NAME: Self = Self { names: &["other.example"], ..Self::SERVER };
    /// A collector whose name stands where it does not count.
    pub const COMMON_NAME_ONLY: Self = Self { names: &[], common_name: "localhost", ..Self::SERVER };
    /// A collector of the past.
    pub const EXPIRED: Self = Self { validity: Validity::Past, ..Self::SERVER };
    /// A collector of the future.
    pub const NOT_YET_VALID: Self = Self { validity: Validity::Future, ..Self::SERVER };
    /// A collector with an exporter's certificate.
    pub const WRONG_USAGE: Self = Self { usage: Usage::Client, ..Self::SERVER };
}

impl Leaf<'_> {
    fn params(&self) -> Result<CertificateParams, Error> {
        let names: Vec<String> = self.names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, self.common_name);
        params.extended_key_usages = vec![match self.usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let (first, last) = match self.validity {
            Validity::Now => (2020, 2099),
            Validity::Past => (2020, 2021),
            Validity::Future => (2098, 2099),
        };
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 1, 1);
        Ok(params)
    }

    /// One that vouches for itself and might for others, as `openssl req -x509` makes it.
    pub fn self_signed_authority(&self) -> Result<Identity, Error> {
        let (key, mut params) = (KeyPair::generate()?, self.params()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Identity::new(&params.self_signed(&key)?, &key))
    }

    /// One that vouches for itself.
    pub fn self_signed(&self) -> Result<Identity, Error> {
        let key = KeyPair::generate()?;
        Ok(Identity::new(&self.params()?.self_signed(&key)?, &key))
    }
}

impl Authority {
    /// An authority of this name.
    pub fn new(name: &str) -> Result<Self, Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate that it vouches for.
    pub fn issue(&self, leaf: &Leaf<'_>) -> Result<Identity, Error> {
        let key = KeyPair::generate()?;
        Ok(Identity::new(&leaf.params()?.signed_by(&key, &self.issuer)?, &key))
    }

    /// Writes its certificate to a file.
    pub fn write(&self, directory: &Path, name: &str) -> io::Result<PathBuf> {
        let path = directory.join(format!("{name}.pem"));
        fs::write(&path, self.pem())?;
        Ok(path)
    }
}

impl Identity {
    fn new(certificate: &Certificate, key: &KeyPair) -> Self {
        Self { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }

    /// Writes certificate and key to one file, the key first.
    pub fn write(&self, directory: &Path, name: &str) -> io::Result<PathBuf> {
        let path = directory.join(format!("{name}.pem"));
        fs::write(&path, format!("{}{}", self.key, self.certificate))?;
        Ok(path)
    }
}
