//! A small disk (tmpfs), for what happens when it is full.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A disk of its own in a folder; it goes with the value.
pub struct Disk(PathBuf);

impl Disk {
    /// One of this size in a new folder; `None` where mounting is not allowed.
    pub fn mount(folder: PathBuf, kib: usize) -> Option<Self> {
        std::fs::create_dir(&folder).unwrap();
        let disk = Self(folder);
        disk.size("mount -t tmpfs tmpfs", kib).then_some(disk)
    }

    /// Gives it another size.
    pub fn resize(&self, kib: usize) {
        assert!(self.size("mount -o remount", kib));
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        while ballast.write_all(&[1; 4096]).is_ok() {}
    }

    /// Gives that room back.
    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn size(&self, how: &str, kib: usize) -> bool {
        let mount = format!("{how} -o size={kib}k \"$0\" 2>&-");
        let mut shell = Command::new("bash");
        shell.args(["-c", &mount]).arg(&self.0);
        shell.status().unwrap().success()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where it was not mounted there is nothing to take away.
        let mut umount = Command::new("umount");
        let _ = umount.arg(&self.0).stderr(Stdio::null()).status();
    }
}
