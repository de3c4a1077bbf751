//! Where account and certificate outlive the process.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::proxy::config::model::Acme;
use crate::proxy::tls::{Certificate, provider};

/// Two files of a folder. Others may be for other names or authorities: each
/// is named for what it is of, and so never taken for another.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    account: PathBuf,
    certificate: PathBuf,
}

impl Cache {
    pub(super) fn open(settings: &Acme) -> io::Result<Self> {
        make(&settings.cache)?;
        let mut domains = settings.domains.clone();
        domains.sort_unstable();
        let of_names = mark(&[&settings.directory, &domains.join(",")]);
        let first = settings.domains.first().map_or("", String::as_str);
        let account = format!("account-{}.json", mark(&[&settings.directory]));
        Ok(Self {
            account: settings.cache.join(account),
            certificate: settings.cache.join(format!("{first}-{of_names}.pem")),
        })
    }

    /// What was kept of the account.
    pub(super) fn account(&self) -> io::Result<Option<String>> {
        read(&self.account)
    }

    pub(super) async fn keep_account(&self, json: String) -> io::Result<()> {
        write(self.account.clone(), json).await
    }

    /// Another is made for the next order.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        fs::remove_file(&self.account)
    }

    /// What was kept of the certificate, and can be used.
    pub(super) fn certificate(&self) -> io::Result<Option<Certificate>> {
        let Some(pem) = read(&self.certificate)? else {
            return Ok(None);
        };
        let failed = |why| {
            let file = self.certificate.display();
            io::Error::other(format!("{file}: {why}"))
        };
        certificate_of(&pem).map(Some).map_err(failed)
    }

    /// Key and chain in one file, so that they cannot fail to match.
    pub(super) async fn keep_certificate(&self, pem: &str) -> io::Result<()> {
        write(self.certificate.clone(), pem.to_owned()).await
    }
}

/// Key and chain, as they are kept.
pub(super) fn certificate_of(pem: &str) -> Result<Certificate, String> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    // Without the reason, which could quote from the key.
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "no private key")?;
    let made = Certificate::new(chain, key, &provider()).map_err(|error| error.to_string())?;
    made.ok_or_else(|| "it cannot be understood".to_owned())
}

/// Stands for these words in a file's name.
fn mark(words: &[&str]) -> String {
    let mut hash = Sha256::new();
    for word in words {
        hash.update((word.len() as u64).to_be_bytes());
        hash.update(word);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..9])
}

fn read(file: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn write(file: PathBuf, text: String) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(move || replace(&file, &text));
    written.await.map_err(io::Error::other)?
}

/// The old content or the new one is there, whatever happens meanwhile.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let fresh = file.with_extension(format!("{:016x}.new", fastrand::u64(..)));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&fresh).and_then(|mut opened| {
        opened.write_all(text.as_bytes())?;
        opened.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&fresh, file));
    if renamed.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    renamed?;
    // The name, too, is to survive.
    match file.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::config::model::{Challenge, Tls};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("tower-sse-acme-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn cache(&self, domains: &[&str], directory: &str) -> Cache {
            let settings = Acme {
                domains: domains.iter().map(ToString::to_string).collect(),
                email: None,
                directory: directory.to_owned(),
                cache: self.0.join("below"),
                challenge: Challenge::default(),
                ca: None,
            };
            Cache::open(Tls::by_acme(settings).acme.as_ref().unwrap()).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn pem(domain: &str) -> String {
        let made = rcgen::generate_simple_self_signed([domain.to_owned()]).unwrap();
        format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())
    }

    #[tokio::test]
    async fn what_is_kept_is_found_by_the_same_names_and_authority_alone() {
        let folder = Folder::new("names");
        let cache = folder.cache(&["a.example", "b.example"], "https://ca/one");
        assert!(cache.certificate().unwrap().is_none());
        cache.keep_certificate(&pem("a.example")).await.unwrap();
        cache.keep_account("{}".to_owned()).await.unwrap();
        cache.keep_account("{ }".to_owned()).await.unwrap();

        let names = |cache: &Cache| Some(cache.certificate().unwrap()?.names);
        let found = Some(vec!["a.example".to_owned()]);
        assert_eq!(names(&cache), found);
        let swapped = folder.cache(&["b.example", "a.example"], "https://ca/one");
        assert_eq!(
            names(&folder.cache(&["a.example", "b.example"], "https://ca/one")),
            found
        );
        assert_eq!(names(&folder.cache(&["a.example"], "https://ca/one")), None);
        let other = folder.cache(&["a.example", "b.example"], "https://ca/two");
        assert_eq!(names(&other), None);
        assert_eq!(other.account().unwrap(), None);
        assert_eq!(swapped.account().unwrap().as_deref(), Some("{ }"));
        swapped.forget_account().unwrap();
        assert_eq!(cache.account().unwrap(), None);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn keys_are_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = Folder::new("modes");
        let cache = folder.cache(&["a.example"], "https://ca");
        cache.keep_certificate(&pem("a.example")).await.unwrap();
        cache.keep_account("{}".to_owned()).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.0.join("below")), 0o700);
        let files: Vec<_> = fs::read_dir(folder.0.join("below")).unwrap().collect();
        assert_eq!(files.len(), 2, "nothing is left over");
        for file in files {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
    }

    #[tokio::test]
    async fn what_is_broken_is_not_used() {
        let folder = Folder::new("broken");
        let cache = folder.cache(&["a.example"], "https://ca");
        let whole = pem("a.example");
        let (key, chain) = whole.split_at(whole.find("-----BEGIN CERT").unwrap());
        for broken in ["", key, chain, "-----BEGIN CERTIFICATE-----\nAA"] {
            cache.keep_certificate(broken).await.unwrap();
            assert!(cache.certificate().is_err(), "{broken}");
        }
        let other = pem("a.example");
        let stranger = &other[other.find("-----BEGIN CERT").unwrap()..];
        cache
            .keep_certificate(&format!("{key}{stranger}"))
            .await
            .unwrap();
        assert!(cache.certificate().is_err(), "another's key");
    }
}
