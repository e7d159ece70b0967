//! The one place that writes result files: beside the old file, whole and durable, then in its
//! place. A reader sees the old file or the new one, never a part; nobody else may read it.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A result file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}. {}", self.reason(), remedy(source))]
pub struct WriteError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl WriteError {
    fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            action,
            path,
            source,
        }
    }

    /// What went wrong, without what could be done.
    #[must_use]
    pub fn reason(&self) -> String {
        let path = self.path.display();
        format!("cannot {} {path}: {}", self.action, self.source)
    }

    /// The file or folder that it is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Make room, or name another folder with --out"
        }
        _ => "Name another folder with --out",
    }
}

/// Makes the folder of the result files, for this user only, unless it is there.
///
/// # Errors
///
/// When it is not there and cannot be made.
pub fn make_folder(folder: &Path) -> Result<(), WriteError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(WriteError::at("make the folder", folder))
}

/// Makes sure that result files can be made in the folder.
///
/// # Errors
///
/// When they cannot.
pub fn ensure_writable(folder: &Path) -> Result<(), WriteError> {
    Draft::new(folder, super::RESULTS_CSV).map(drop)
}

/// What the names of drafts end with, after a random part.
const SUFFIX: &str = ".otpdrive-draft";

/// A process that was killed leaves its drafts behind; those that nobody writes any more go. No
/// link is followed, and nothing is opened that could block.
fn remove_dead_drafts(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        // Its lock is kept until it is gone: a writer that comes for it then knows.
        if name.starts_with(prefix)
            && name.ends_with(SUFFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(draft) = File::open(&path)
            && draft.try_lock().is_ok()
        {
            // The next one tries again.
            let _ = fs::remove_file(path);
        }
    }
}

/// A file that is being written and has no name yet. Dropped, it leaves nothing behind.
pub struct Draft {
    out: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl Draft {
    /// Begins `folder/name`; what has that name stays as it is until [`publish`].
    ///
    /// # Errors
    ///
    /// When the folder cannot be written to.
    pub fn new(folder: &Path, name: &str) -> Result<Self, WriteError> {
        let path = folder.join(name);
        let prefix = format!(".{name}.");
        remove_dead_drafts(folder, &prefix);
        let file = loop {
            let file = tempfile::Builder::new()
                .prefix(&prefix)
                .suffix(SUFFIX)
                .tempfile_in(folder)
                .map_err(WriteError::at("write", &path))?;
            // Says that its writer lives. Where the file system has no locks, no draft is removed.
            let locked = file.as_file().try_lock();
            // Before that, somebody else may have taken it for dead.
            if !matches!(locked, Err(TryLockError::WouldBlock)) && file.path().exists() {
                break file;
            }
        };
        Ok(Self {
            out: BufWriter::new(file),
            path,
        })
    }

    /// An error of writing to this draft, with its place.
    #[must_use]
    pub fn error(&self, source: io::Error) -> WriteError {
        WriteError::at("write", &self.path)(source)
    }

    fn make_durable(self) -> Result<(NamedTempFile, PathBuf), WriteError> {
        let file = self
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.as_file().sync_all().map(|()| file))
            .map_err(WriteError::at("write", &self.path))?;
        Ok((file, self.path))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Gives the drafts of one folder their names, in this order: all of them are durable before the
/// first one gets its name, so that they appear together as nearly as a file system can do it.
///
/// # Errors
///
/// When a draft cannot be made durable: nothing has changed then. When one cannot be renamed: those
/// before it have been.
pub fn publish<const N: usize>(folder: &Path, drafts: [Draft; N]) -> Result<(), WriteError> {
    let mut durable = Vec::with_capacity(N);
    for draft in drafts {
        durable.push(draft.make_durable()?);
    }
    for (file, path) in durable {
        file.persist(&path)
            .map_err(|failed| WriteError::at("replace", &path)(failed.error))?;
    }
    sync_folder(folder).map_err(WriteError::at("save the names in", folder))
}

/// Replaces a file that everybody may read, for who collects metrics is another user. It holds
/// nothing but counts.
///
/// # Errors
///
/// When it cannot be written, or is no file, such as `/dev/null`; it is as it was.
pub fn replace_public(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let is_other = |found: fs::Metadata| !found.is_file();
    if fs::symlink_metadata(path).is_ok_and(is_other) {
        let error = io::Error::other("it is no regular file");
        return Err(WriteError::at("replace", path)(error));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default();
    let mut draft = Draft::new(folder, &name.to_string_lossy())?;
    path.clone_into(&mut draft.path);
    let file = draft.out.get_ref().as_file();
    // Whatever the umask is.
    file.set_permissions(Permissions::from_mode(0o644))
        .and_then(|()| draft.out.write_all(bytes))
        .map_err(WriteError::at("write", path))?;
    publish(folder, [draft])
}

/// A rename is durable once the folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn draft(folder: &Path, name: &str, text: &str) -> Draft {
        let mut draft = Draft::new(folder, name).unwrap();
        draft.write_all(text.as_bytes()).unwrap();
        draft
    }

    #[test]
    fn published_files_have_their_names_and_texts_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "old").unwrap();
        let drafts = [
            draft(folder.path(), "a", "new"),
            draft(folder.path(), "b", "other"),
        ];
        publish(folder.path(), drafts).unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"new");
        assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"other");
    }

    #[test]
    fn a_dropped_draft_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "old").unwrap();
        drop(draft(folder.path(), "a", "half"));
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"old");
    }

    #[test]
    fn drafts_of_a_killed_process_go_and_those_of_a_living_one_stay() {
        let folder = tempfile::tempdir().unwrap();
        for dead in [
            ".a.x1y2z3.otpdrive-draft",
            ".b.x1y2z3.otpdrive-draft",
            ".a.tmp",
        ] {
            fs::write(folder.path().join(dead), "half").unwrap();
        }
        let living = draft(folder.path(), "a", "first");
        publish(folder.path(), [draft(folder.path(), "a", "second")]).unwrap();
        publish(folder.path(), [living]).unwrap();
        assert_eq!(
            names(folder.path()),
            [".a.tmp", ".b.x1y2z3.otpdrive-draft", "a"]
        );
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"first");
    }

    #[test]
    fn writers_that_begin_at_once_leave_each_others_drafts() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let draft = Draft::new(folder.path(), "a").unwrap();
                        std::thread::yield_now();
                        assert!(draft.out.get_ref().path().exists());
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_name_that_cannot_be_taken_leaves_no_draft_behind_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/taken")).unwrap();
        let drafts = [draft(folder.path(), "a", "new")];
        let error = publish(folder.path(), drafts).unwrap_err();
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(error.path(), folder.path().join("a"));
        assert!(error.to_string().contains("--out"), "{error}");
    }

    #[test]
    fn a_folder_that_is_a_file_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("taken");
        fs::write(&file, "").unwrap();
        let error = make_folder(&file.join("results")).unwrap_err().to_string();
        assert!(error.contains("taken/results"), "{error}");
        assert!(error.contains("--out"), "{error}");
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = WriteError::at("write", Path::new("a"))(io::ErrorKind::StorageFull.into());
        assert!(full.to_string().contains("Make room"), "{full}");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_even_where_an_older_file_was_open_to_all() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("out");
        make_folder(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        let file = folder.join("a");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        publish(&folder, [draft(&folder, "a", "new")]).unwrap();
        assert_eq!(mode(&file), 0o600);
    }
}
