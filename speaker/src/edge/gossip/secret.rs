//! Where the secret is found, and following it there.
//!
//! As MetalLB's speaker is given it: a folder in which the Secret `memberlist` is mounted, with the file `secretkey`. It is read
//! again at intervals by its path: a mounted Secret changes by a link that moves, a minute after the Secret did, so that a
//! notice of the kernel would gain nothing. What was read is never logged.

use super::key::Secret;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// A folder with the file `secretkey`, or the file itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SecretPlace(pub(crate) PathBuf);

impl SecretPlace {
    /// Reads what is there.
    ///
    /// # Errors
    /// Why there is no secret, in words that begin with the path.
    pub(crate) fn read(&self) -> Result<Secret, String> {
        let inside = self.0.join(FILE);
        let file = if self.0.is_dir() { &inside } else { &self.0 };
        let say = |why: &dyn fmt::Display| format!("{}: {why}", file.display());
        let text = read_bounded(file).map_err(|error| match error.kind() {
            ErrorKind::NotFound => say(&"there is no such file"),
            _ => say(&error),
        })?;
        Secret::new(text).ok_or_else(|| say(&"it is empty"))
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

fn read_bounded(path: &std::path::Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // With room from the start, so that growing leaves no copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    let mut file = File::open(path)?.take(SECRET_BYTES_MAX as u64 + 1);
    file.read_to_end(&mut text)?;
    if text.len() > SECRET_BYTES_MAX {
        let why = format!("it is longer than {SECRET_BYTES_MAX} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    Ok(text)
}

/// Tells `tell` what is in its place, for ever: at once, and whatever replaces it. `tell` says whether it took it; what it
/// did not take is told again. Without a secret `missing` is told why, once for each cause. `pause` waits.
pub(crate) async fn follow<P: Future<Output = ()>>(
    place: SecretPlace,
    mut tell: impl FnMut(Secret) -> bool,
    missing: impl Fn(&str),
    pause: impl Fn(Duration) -> P,
) {
    let mut told: Option<Secret> = None;
    let mut why_not = String::new();
    loop {
        match place.read() {
            Ok(secret) => {
                if told.as_ref() != Some(&secret) && tell(secret.clone()) {
                    told = Some(secret);
                }
                why_not.clear();
            }
            Err(why) => {
                if why_not != why {
                    missing(&why);
                }
                why_not = why;
            }
        }
        pause(if told.is_some() { EVERY } else { EVERY_MISSING }).await;
    }
}

/// MetalLB's name for the file.
const FILE: &str = "secretkey";
/// Bytes of a secret; MetalLB makes 22 to 172 of them.
const SECRET_BYTES_MAX: usize = 4096;
/// Short beside the minute that a kubelet takes to bring a new one.
const EVERY: Duration = Duration::from_secs(5);
/// While nothing else can begin.
const EVERY_MISSING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
    }

    fn read(path: &Path) -> Result<Secret, String> {
        SecretPlace(path.to_owned()).read()
    }

    #[test]
    fn metallb_5_1_the_secret_is_a_file_in_a_folder_or_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secretkey");
        let why = read(folder.path()).unwrap_err();
        assert!(why.ends_with("secretkey: there is no such file"), "{why}");
        fs::write(&file, "YWJj\n").unwrap();
        assert_eq!(read(folder.path()), Ok(secret("YWJj")));
        assert_eq!(read(&file), Ok(secret("YWJj")));
        fs::write(&file, "\n").unwrap();
        assert!(read(&file).unwrap_err().ends_with("it is empty"));
        fs::write(&file, "x".repeat(SECRET_BYTES_MAX + 1)).unwrap();
        assert!(read(&file).unwrap_err().ends_with("longer than 4096 bytes"));
    }

    /// A folder as a kubelet mounts it: the link `..data` moves to a new folder.
    struct Mounted(tempfile::TempDir);

    impl Mounted {
        fn new() -> Self {
            let mounted = Self(tempfile::tempdir().unwrap());
            symlink("..data/secretkey", mounted.0.path().join("secretkey")).unwrap();
            mounted
        }

        fn put(&self, version: &str, text: &str) {
            let root = self.0.path();
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("secretkey"), text).unwrap();
            symlink(version, root.join("..data_tmp")).unwrap();
            fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        }
    }

    #[tokio::test]
    async fn a_mounted_secret_is_followed_through_its_link() {
        let mounted = Mounted::new();
        let told = RefCell::new(Vec::new());
        let missing = RefCell::new(Vec::new());
        let round = Cell::new(0);
        let refuses = Cell::new(true);
        let pause = async |_| {
            round.set(round.get() + 1);
            match round.get() {
                2 => mounted.put("..1", "first"),
                4 => mounted.put("..2", "second"),
                6 => fs::remove_file(mounted.0.path().join("..data")).unwrap(),
                8 => std::future::pending().await,
                _ => {}
            }
        };
        let tell = |secret| {
            told.borrow_mut().push(secret);
            // The first time it is not taken.
            !refuses.replace(false)
        };
        let place = SecretPlace(mounted.0.path().to_owned());
        let run = follow(
            place,
            tell,
            |why| missing.borrow_mut().push(why.to_owned()),
            pause,
        );
        tokio::select! {
            () = run => {}
            () = async { while round.get() < 8 { tokio::task::yield_now().await } } => {}
        }
        let expected = [secret("first"), secret("first"), secret("second")];
        assert_eq!(*told.borrow(), expected);
        assert_eq!(
            missing.borrow().len(),
            2,
            "each lack is told once: {missing:?}"
        );
    }
}
