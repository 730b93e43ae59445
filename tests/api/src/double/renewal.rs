//! Credentials in files that are replaced while clients run, as a kubelet and an administrator do it.

use super::{Double, Identity};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::{fs, io};

impl Double {
    /// Writes a kubeconfig that names its token and its authority as files, `token` and `ca.crt` in the same folder, and returns
    /// its path.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn kubeconfig_of_files(&self, folder: &Path, user: &str) -> io::Result<PathBuf> {
        let token = self.shared.store().users.token(user).map(str::to_owned);
        fs::write(folder.join("token"), token.unwrap_or_default())?;
        self.write_authority(folder)?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "double",
            "clusters": [{"name": "double", "cluster": {"server": self.url(), "certificate-authority": "ca.crt"}}],
            "contexts": [{"name": "double", "context": {"cluster": "double", "user": user}}],
            "users": [{"name": user, "user": {"tokenFile": folder.join("token")}}],
        });
        let path = folder.join("kubeconfig");
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Writes the certificate of the authority into `ca.crt`, whole at once.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_authority(&self, folder: &Path) -> io::Result<()> {
        let certificate = self.identity.as_ref().map(|identity| &identity.certificate);
        let part = folder.join("ca.crt.part");
        fs::write(&part, certificate.map_or("", |text| text))?;
        fs::rename(part, folder.join("ca.crt"))
    }

    /// From the next [`Double::resume`] on the certificate is of another authority.
    ///
    /// # Errors
    /// If no certificate can be made.
    pub fn renew_authority(&mut self) -> io::Result<()> {
        self.identity = Some(Identity::make(self.address)?);
        Ok(())
    }

    /// Adds a token.
    pub fn add_user(&self, token: &str, name: &str, groups: &[&str]) {
        self.shared.store().users.add(token, name, groups);
    }

    /// Knows a token no more; what it was used for is refused with 401 from the next request on.
    pub fn remove_token(&self, token: &str) {
        self.shared.store().users.remove(token);
    }
}
