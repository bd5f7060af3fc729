//! A real ssh to this machine that leaves nothing behind: the client starts its own sshd, one per connection.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::process;

/// The client's configuration file (`ssh -F`), in which every host name leads to this machine; or why there is none.
pub fn config() -> Result<&'static Path, &'static str> {
    static CONFIG: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match CONFIG.get_or_init(prepare) {
        Ok(path) => Ok(path),
        Err(reason) => Err(reason),
    }
}

/// A configuration of its own in `dir`, by which the same key may do nothing but `command`.
pub fn forced(dir: &Path, command: &Path) -> Option<PathBuf> {
    let client = config().ok()?;
    let server = client.with_file_name("sshd_config");
    let text = fs::read_to_string(&server).ok()?;
    let own = dir.join("sshd_config");
    fs::write(&own, format!("{text}ForceCommand {}\n", command.display())).ok()?;
    let text = fs::read_to_string(client).ok()?.replace(&server.display().to_string(), &own.display().to_string());
    fs::write(dir.join("ssh_config"), text).ok()?;
    Some(dir.join("ssh_config"))
}

fn prepare() -> Result<PathBuf, String> {
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"].map(Path::new);
    let sshd = sshd.into_iter().find(|path| path.is_file()).ok_or("no sshd is installed")?;
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().ok_or("no name for this user")?;
    let dir = process::scratch().join("ssh");
    let _ = fs::remove_dir_all(&dir); // keys of an earlier run
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    if nix::unistd::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").map_err(|error| error.to_string())?;
    }
    for key in ["host", "user"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]).arg(dir.join(key));
        let made = keygen.status().map_err(|error| format!("ssh-keygen: {error}"))?;
        if !made.success() {
            return Err("ssh-keygen failed".into());
        }
    }
    let at = dir.display();
    let server = format!(
        "HostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
         PermitRootLogin yes\nPasswordAuthentication no\nLogLevel QUIET\n"
    );
    let client = format!(
        "Host *\n  ProxyCommand {sshd} -i -f {at}/sshd_config\n  User {user}\n  IdentityFile {at}/user\n  \
         IdentitiesOnly yes\n  IdentityAgent none\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  \
         LogLevel ERROR\n",
        sshd = sshd.display(),
        user = user.name,
    );
    fs::write(dir.join("sshd_config"), server).map_err(|error| error.to_string())?;
    let config = dir.join("ssh_config");
    fs::write(&config, client).map_err(|error| error.to_string())?;
    let tried =
        Command::new("ssh").arg("-F").arg(&config).args(["-o", "BatchMode=yes", "far", "echo it works"]).output();
    let tried = tried.map_err(|error| format!("ssh: {error}"))?;
    if tried.stdout == b"it works\n" {
        Ok(config)
    } else {
        Err(format!("ssh to this machine fails: {}", String::from_utf8_lossy(&tried.stderr).trim()))
    }
}
