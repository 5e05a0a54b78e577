//! The authority of a cluster: its key signs nodes' certificates and the list of those taken back.
//! Owns a folder: `ca.pem`, `ca.key`, `revoked.wl` and `issued.wl`. Used by a person's command,
//! never by a running node.

mod index;
mod request;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SanType, SerialNumber,
};
use x509_parser::time::ASN1Time;
use zeroize::Zeroizing;

use crate::certificate::{self, CERTIFICATE_BYTES_MAX, Certificate, Held};
use crate::error::{IdentityError, Refusal};
use crate::key::Key;
use crate::name::{self, Kind, uri};
use crate::revocations::{LIST_BYTES_MAX, RevocationList, SERIALS_MAX};
use crate::serial::Serial;
use crate::tls::CLOCK_TOLERANCE_S;
use crate::{files, pem};

pub use index::Issued;
pub use request::{IssueRequest, IssuedFiles, OutDir, Revoked};

/// Days of an authority: ten years.
const AUTHORITY_DAYS: u64 = 3_653;
/// The most days of a node.
pub(crate) const DAYS_MAX: u32 = 366;
const DAY_S: u64 = 24 * 3_600;
/// How long a number stays in the list after its certificate has ended: longer than clocks differ.
const KEPT_S: u64 = DAY_S;

/// The authority of a cluster, with its folder.
pub struct Authority {
    folder: PathBuf,
    key: Key,
    held: Held,
    /// The file of the key, for a lock on it.
    locked: File,
}

impl Authority {
    /// Begins a cluster: makes a key and its certificate in `folder`, which is made when it is not
    /// there (0700), with an empty list of revocations. `now_unix_s` is the time, seconds since
    /// 1970.
    ///
    /// # Errors
    /// When there is an authority already: it is never overwritten. Else what the system says.
    pub fn create(folder: &Path, cluster: &str, now_unix_s: u64) -> Result<Self, IdentityError> {
        name::check("cluster", cluster)?;
        files::folder(folder)?;
        let paths = AuthorityPaths::of(folder);
        for path in [&paths.key, &paths.certificate, &paths.revocations] {
            if path.symlink_metadata().is_ok() {
                return Err(IdentityError::Exists(path.clone()));
            }
        }
        let key = Key::generate()?;
        let from = now_unix_s.saturating_sub(CLOCK_TOLERANCE_S);
        let mut params = authority_params(cluster);
        params.serial_number = Some(SerialNumber::from_slice(Serial::random()?.bytes()));
        set_validity(&mut params, from, now_unix_s.saturating_add(AUTHORITY_DAYS * DAY_S))?;
        params.subject_alt_names = vec![san(&uri(cluster, Kind::Authority, cluster))?];
        let made = params.self_signed(&key).map_err(|_| IdentityError::Cryptography("it"))?;
        let text = key.to_pem()?;
        // The key first: without it the others are of no use.
        files::write(&paths.key, text.as_bytes(), files::SECRET, false)?;
        files::write(&paths.certificate, made.pem().as_bytes(), files::PUBLIC, false)?;
        let list = RevocationList::sign(cluster, 1, BTreeSet::new(), &key);
        files::write(&paths.revocations, list.as_bytes(), files::PUBLIC, false)?;
        Self::load(folder)
    }

    /// Reads the authority of a folder.
    ///
    /// # Errors
    /// When others can read its key, its files do not fit each other, or cannot be read.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let paths = AuthorityPaths::of(folder);
        let content =
            |path: &Path, what, why| IdentityError::Content { path: path.to_owned(), what, why };
        let held = load_certificate(&paths.certificate)?;
        let (text, locked) = files::read_key(&paths.key)?;
        let key = Key::from_pem(&text).map_err(|why| content(&paths.key, "key", why))?;
        if key.public() != held.says.public {
            return Err(IdentityError::KeyOfAnother(held.says.cluster));
        }
        Ok(Self { folder: folder.to_owned(), key, held, locked })
    }

    /// What its certificate says.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.held.says
    }

    /// The cluster it is of.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.held.says.cluster
    }

    /// The authority's certificate, for [`Authority::issue`]'s other half.
    #[must_use]
    pub fn certificate_pem(&self) -> Vec<u8> {
        pem::encode("CERTIFICATE", &self.held.der).as_bytes().to_vec()
    }

    /// Makes a key and a certificate for a node, writes them and the list of revocations into a
    /// folder, and remembers the certificate. To renew is to issue again for the same name: nodes
    /// take the new files while they run.
    ///
    /// # Errors
    /// A name or number of days that cannot be, files that are there already (unless
    /// [`OutDir::replace`]), what the system says. Nothing is left half written.
    pub fn issue(
        &self,
        request: &IssueRequest,
        out: &OutDir,
        now_unix_s: u64,
    ) -> Result<IssuedFiles, IdentityError> {
        if request.node == "ca" {
            return Err(IdentityError::NameOfAuthority);
        }
        let _locked = self.lock()?;
        let (issued, certificate, key) = self.make(request, now_unix_s)?;
        let list = self.revocations()?;
        files::folder(&out.folder)?;
        let files = IssuedFiles::of(&out.folder, &request.node, issued);
        let there = [&files.certificate, &files.key].into_iter();
        if let Some(path) = there.filter(|_| !out.replace).find(|at| at.symlink_metadata().is_ok())
        {
            return Err(IdentityError::Exists(path.clone()));
        }
        // What was issued is known before it can be used, so that it can always be taken back.
        index::append(&self.folder, &files.issued)?;
        files::write(&files.key, key.as_bytes(), files::SECRET, out.replace)?;
        files::write(&files.certificate, &certificate, files::PUBLIC, out.replace)?;
        if !is_same_folder(&out.folder, &self.folder) {
            files::write(&files.revocations, list.as_bytes(), files::PUBLIC, true)?;
        }
        Ok(files)
    }

    /// Makes a key and a certificate, PEM (with the authority's behind it), and writes nothing.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_texts(
        &self,
        request: &IssueRequest,
        now_unix_s: u64,
    ) -> Result<(Vec<u8>, Zeroizing<String>), IdentityError> {
        self.make(request, now_unix_s).map(|(_, certificate, key)| (certificate, key))
    }

    fn make(
        &self,
        request: &IssueRequest,
        now_unix_s: u64,
    ) -> Result<(Issued, Vec<u8>, Zeroizing<String>), IdentityError> {
        let IssueRequest { node, roles, services, days } = request;
        name::check_node(node, roles, services)?;
        if !(1..=DAYS_MAX).contains(days) {
            return Err(IdentityError::Days { days: *days, days_max: DAYS_MAX });
        }
        let end = now_unix_s.saturating_add(u64::from(*days) * DAY_S);
        // Never beyond the authority's own end.
        let expires_unix_s = end.min(self.held.says.expires_unix_s);
        if expires_unix_s <= now_unix_s {
            return Err(IdentityError::Peer(Refusal::AuthorityExpired));
        }
        let (serial, key) = (Serial::random()?, Key::generate()?);
        let cluster = self.cluster();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from_slice(serial.bytes()));
        let from = now_unix_s.saturating_sub(CLOCK_TOLERANCE_S);
        set_validity(&mut params, from, expires_unix_s)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let names = std::iter::once((Kind::Node, node))
            .chain(roles.iter().map(|role| (Kind::Role, role)))
            .chain(services.iter().map(|service| (Kind::Service, service)));
        let names = names.map(|(kind, name)| san(&uri(cluster, kind, name)));
        params.subject_alt_names = names.collect::<Result<_, _>>()?;
        let issuer = Issuer::new(authority_params(cluster), &self.key);
        let made = params.signed_by(&key, &issuer);
        let made = made.map_err(|_| IdentityError::Cryptography("a certificate"))?;
        if made.der().len() > CERTIFICATE_BYTES_MAX {
            return Err(IdentityError::TooManyNames);
        }
        let issued =
            Issued { serial, node: node.clone(), issued_unix_s: now_unix_s, expires_unix_s };
        let text = [made.pem().into_bytes(), self.certificate_pem()].concat();
        Ok((issued, text, key.to_pem()?))
    }

    /// Every certificate it has issued, oldest first.
    ///
    /// # Errors
    /// When the index cannot be read, or somebody has written something else into it.
    pub fn issued(&self) -> Result<Vec<Issued>, IdentityError> {
        index::read(&self.folder)
    }

    /// The list of revocations as it is.
    ///
    /// # Errors
    /// When it cannot be read or this authority has not signed it.
    pub fn revocations(&self) -> Result<RevocationList, IdentityError> {
        let bytes = files::read(&self.revocations_path(), LIST_BYTES_MAX)?;
        let list = RevocationList::parse(&bytes)?;
        list.verify(self.cluster(), std::iter::once(&self.held.says.public))?;
        Ok(list)
    }

    /// Where the list of revocations is: what is copied to nodes.
    #[must_use]
    pub fn revocations_path(&self) -> PathBuf {
        AuthorityPaths::of(&self.folder).revocations
    }

    /// Takes back every certificate of a node that is still good, or the one with this number, and
    /// writes the list anew with the next epoch. Numbers whose certificates ended more than a day
    /// ago leave the list.
    ///
    /// # Errors
    /// `NotIssued` for a name or number that was never issued; `TooManyRevoked`; files.
    pub fn revoke(&self, whom: &str, now_unix_s: u64) -> Result<Revoked, IdentityError> {
        let _locked = self.lock()?;
        let (list, issued) = (self.revocations()?, self.issued()?);
        let number = whom.parse::<Serial>().ok();
        let meant = |of: &&Issued| of.node == whom || Some(of.serial) == number;
        let is_over = |of: &Issued| of.expires_unix_s.saturating_add(KEPT_S) < now_unix_s;
        if !issued.iter().any(|of| meant(&of)) {
            return Err(IdentityError::NotIssued(whom.to_owned()));
        }
        let over: BTreeSet<Serial> =
            issued.iter().filter(|of| is_over(of)).map(|of| of.serial).collect();
        let mut serials: BTreeSet<Serial> =
            list.serials().filter(|serial| !over.contains(serial)).collect();
        let good = issued.iter().filter(meant).filter(|of| !is_over(of));
        let new: Vec<Issued> = good.filter(|of| !list.is_revoked(of.serial)).cloned().collect();
        serials.extend(new.iter().map(|of| of.serial));
        if serials.len() > SERIALS_MAX {
            return Err(IdentityError::TooManyRevoked(serials.len()));
        }
        if new.is_empty() {
            return Ok(Revoked { new, list });
        }
        let list = RevocationList::sign(self.cluster(), list.epoch() + 1, serials, &self.key);
        files::write(&self.revocations_path(), list.as_bytes(), files::PUBLIC, true)?;
        Ok(Revoked { new, list })
    }

    /// Nobody else issues or revokes with this authority until it is dropped.
    fn lock(&self) -> Result<Lock<'_>, IdentityError> {
        let path = AuthorityPaths::of(&self.folder).key;
        self.locked.lock().map_err(files::failed(&path, "locked"))?;
        Ok(Lock(&self.locked))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut written = formatter.debug_struct("Authority");
        written.field("folder", &self.folder).field("cluster", &self.cluster());
        written.finish_non_exhaustive()
    }
}

struct Lock<'a>(&'a File);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // The end of the process does it too.
        let _ = self.0.unlock();
    }
}

struct AuthorityPaths {
    certificate: PathBuf,
    key: PathBuf,
    revocations: PathBuf,
}

impl AuthorityPaths {
    fn of(folder: &Path) -> Self {
        Self {
            certificate: folder.join("ca.pem"),
            key: folder.join("ca.key"),
            revocations: folder.join("revoked.wl"),
        }
    }
}

fn load_certificate(path: &Path) -> Result<Held, IdentityError> {
    let text = files::read(path, certificate::FILE_BYTES_MAX)?;
    let wrong = |why: String| IdentityError::Content {
        path: path.to_owned(),
        what: "certificate of an authority",
        why,
    };
    let mut held = certificate::held(&text).map_err(wrong)?.into_iter();
    match (held.next(), held.next()) {
        (Some(held), None) if held.says.is_authority => Ok(held),
        _ => Err(wrong("it holds another, or more than one".to_owned())),
    }
}

fn is_same_folder(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b)
}

/// What names the authority in certificates; the same each time, so that chains fit.
fn authority_params(cluster: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, format!("Wireloom authority of {cluster}"));
    params.distinguished_name = subject;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn san(uri: &str) -> Result<SanType, IdentityError> {
    // Percent-encoded, so ASCII.
    let text = Ia5String::try_from(uri);
    text.map(SanType::URI).map_err(|_| IdentityError::Cryptography("a name's text"))
}

/// From when until when, seconds since 1970.
fn set_validity(
    params: &mut CertificateParams,
    from_unix_s: u64,
    until_unix_s: u64,
) -> Result<(), IdentityError> {
    let at = |unix_s: u64| {
        let time = i64::try_from(unix_s).ok().and_then(|s| ASN1Time::from_timestamp(s).ok());
        time.ok_or(IdentityError::Cryptography("a date so late"))
    };
    params.not_before = at(from_unix_s)?.to_datetime();
    params.not_after = at(until_unix_s)?.to_datetime();
    Ok(())
}
