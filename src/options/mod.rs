//! What the user asked for: one plain value, made by `parse` and `check`, handed on by reference.

pub mod algorithms;
pub mod charset;
pub mod check;
pub mod flags;
pub mod forward;
mod glob;
pub mod help;
mod moment;
pub mod parse;
pub mod popt;
pub mod replay;
pub mod target;
pub mod typed;
pub mod verbosity;

use std::{ffi::OsString, time::SystemTime};

pub use verbosity::{Debug, Info, Levels};

use crate::compress::Method;

/// Which program we are in this run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Started by a person: local copy, push, pull or listing.
    #[default]
    Client,
    /// `--server`: the far end writes, we receive.
    ServerReceiver,
    /// `--server --sender`.
    ServerSender,
    /// `--daemon`.
    Daemon,
}

/// `--delete-*`: when extraneous files go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delete {
    #[default]
    Never,
    /// `--delete` alone: before at protocol 29 and below, else during.
    Auto,
    Before,
    During,
    Delay,
    After,
}

/// `-r`, `-d`, neither: what happens to a directory among the sources. C: recurse, xfer_dirs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dirs {
    /// Skipped with a message.
    #[default]
    Skip,
    /// As `List`, because a listing or `--files-from` wants it and not because the user said so. C: xfer_dirs 1
    Implied,
    /// `-d`, `--dirs`: sent as an entry, contents only after a trailing slash. C: xfer_dirs 2
    List,
    /// `--old-dirs`: a recursion in which the rule `- /*/*` (also in `filters`) stops at the first level.
    OldList,
    /// `-r`.
    Recurse,
}

/// `--super`, `--no-super`, `--fake-super`, or by effective user id. C: am_root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Super {
    #[default]
    ByUser,
    Yes,
    No,
    Fake,
}

/// Which kind of alternative basis directory. C: alt_dest_type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AltDest {
    Compare,
    Copy,
    Link,
}

impl AltDest {
    /// C: options.c alt_dest_opt
    pub fn option(self) -> &'static str {
        match self {
            Self::Compare => "--compare-dest",
            Self::Copy => "--copy-dest",
            Self::Link => "--link-dest",
        }
    }
}

/// `--append`, `--append-verify`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Append {
    #[default]
    No,
    Trust,
    Verify,
}

/// `--stderr=errors|all|client`, `--msgs2stderr`. C: msgs2stderr 2, 1, 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stderr {
    #[default]
    Errors,
    All,
    Client,
}

/// `--outbuf`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outbuf {
    None,
    Line,
    Block,
}

/// `--old-args`, `-s` and their environment variables: how arguments travel to the far side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ArgStyle {
    /// Escaped so that the remote shell gives back what was typed, wildcards alive.
    #[default]
    Escaped,
    /// `--old-args`: names as typed, the remote shell splits; values of options are still escaped.
    Old,
    /// `--old-args` twice: nothing is escaped. C: old_style_args 2
    Verbatim,
    /// `-s`, `--secluded-args`: sent over the wire after the command.
    Secluded,
}

/// `-z` and its kin, before anything was negotiated. C: do_compression
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compress {
    #[default]
    No,
    /// `-z` is zlib's: its letter is on the wire, what is used is negotiated unless a choice was made.
    By(Method),
    /// Only a level was given.
    Auto,
}

/// An option of the filter language, and what stood when it was said: its rules are read as of then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterOption {
    pub arg: FilterArg,
    /// The level of `--debug=filter`.
    pub trace: u8,
    pub from0: bool,
    pub delete_excluded: bool,
}

/// One filter-like option in the order typed, across kinds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilterArg {
    Filter(Vec<u8>),
    Exclude(Vec<u8>),
    Include(Vec<u8>),
    ExcludeFrom(Vec<u8>),
    IncludeFrom(Vec<u8>),
    /// `-F`, the n-th occurrence.
    PerDir(u8),
}

/// Batch options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Batch {
    Read(Vec<u8>),
    Write(Vec<u8>),
    OnlyWrite(Vec<u8>),
}

/// Every option of the reference, resolved: defaults applied, implications drawn, contradictions refused.
///
/// Names follow the long options; paths and texts are bytes as typed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub mode: Mode,
    /// Positional arguments: on a client sources and destination, on a server what follows `base_dir`.
    pub args: Vec<OsString>,
    /// On a server: the first argument, where the others start from; all clients say `.`.
    pub base_dir: Vec<u8>,

    // voice
    pub verbose: u8,
    pub quiet: u8,
    pub levels: Levels,
    pub stderr: Stderr,
    pub motd: bool,
    pub stats: bool,
    /// `-h` level: 0 `--no-h`, 1 the default (digit groups), 2 `-h` (units of 1000), 3 `-hh` (1024). C: human_readable.
    pub human_readable: u8,
    /// `-i` count.
    pub itemize: u8,
    /// The format of a line for each entry, implied ones (`-i`, `-v`) included. C: stdout_format
    pub out_format: Option<Vec<u8>>,
    /// 0: the format has no `%i`; 1: it has; 2 and more: unchanged entries too. C: stdout_format_has_i
    pub out_format_has_i: u8,
    /// It has `%o`, or `out_format_has_i`.
    pub out_format_has_o_or_i: bool,
    /// A line is said before the entry is worked on, because it shows nothing that is known only after.
    pub log_before_transfer: bool,
    pub log_file: Option<Vec<u8>>,
    pub log_file_format: Option<Vec<u8>>,
    pub progress: bool,
    pub eight_bit_output: bool,
    pub outbuf: Option<Outbuf>,
    /// Said, or implied by a missing destination.
    pub list_only: bool,
    /// Said: it is forwarded.
    pub list_only_given: bool,
    /// Nothing is changed here; implied by `--only-write-batch`.
    pub dry_run: bool,

    // which files
    pub dirs: Dirs,
    /// `-r` was said; not only `-a`, which implies it.
    pub recurse_said: bool,
    pub allow_inc_recurse: bool,
    pub relative: bool,
    pub implied_dirs: bool,
    pub one_file_system: u8,
    pub filters: Vec<FilterOption>,
    /// `-C`, whose rules come after all others.
    pub cvs_exclude: bool,
    /// The file's path, on `files_from_host` where there is one; `-` is standard input.
    pub files_from: Option<Vec<u8>>,
    pub files_from_host: Option<Vec<u8>>,
    pub from0: bool,
    pub max_size: Option<u64>,
    pub min_size: Option<u64>,
    pub existing: bool,
    pub ignore_existing: bool,
    pub ignore_missing_args: bool,
    pub delete_missing_args: bool,
    pub prune_empty_dirs: bool,
    pub qsort: bool,

    // quick check
    pub ignore_times: bool,
    pub size_only: bool,
    pub checksum: bool,
    pub update: bool,
    /// Seconds; negative: compare nanoseconds exactly (`-@-1`).
    pub modify_window: i32,
    /// Said: it is forwarded.
    pub modify_window_given: bool,

    // links
    pub links: bool,
    pub copy_links: bool,
    pub copy_unsafe_links: bool,
    pub safe_links: bool,
    pub munge_links: bool,
    pub copy_dirlinks: bool,
    pub keep_dirlinks: bool,
    pub hard_links: u8,
    pub insecure_links: bool,

    // metadata
    pub perms: bool,
    pub executability: bool,
    pub acls: bool,
    /// `-X` count.
    pub xattrs: u8,
    pub times: bool,
    /// `-U` count.
    pub atimes: u8,
    pub open_noatime: bool,
    pub crtimes: bool,
    pub omit_dir_times: bool,
    /// ... because of `--backup` without a directory: not forwarded.
    pub omit_dir_times_implied: bool,
    pub omit_link_times: bool,
    pub owner: bool,
    pub group: bool,
    pub devices: bool,
    pub specials: bool,
    pub drop_devices: bool,
    pub copy_devices: bool,
    pub write_devices: bool,
    pub super_user: Super,
    pub numeric_ids: bool,
    pub usermap: Option<Vec<u8>>,
    pub groupmap: Option<Vec<u8>>,
    /// The texts of all `--chmod`, joined with commas as the reference joins them.
    pub chmod: Option<Vec<u8>>,

    // removing
    pub delete: Delete,
    pub delete_excluded: bool,
    pub force: bool,
    pub ignore_errors: bool,
    pub max_delete: Option<i32>,
    /// 1 `--remove-source-files`, 2 the deprecated `--remove-sent-files`.
    pub remove_source_files: u8,

    // replacing
    /// `None`: by transport (local whole, remote delta).
    pub whole_file: Option<bool>,
    pub block_size: Option<u32>,
    pub sparse: bool,
    pub preallocate: bool,
    pub inplace: bool,
    pub append: Append,
    pub partial: bool,
    pub partial_dir: Option<Vec<u8>>,
    pub delay_updates: bool,
    pub backup: bool,
    pub backup_dir: Option<Vec<u8>>,
    pub suffix: Option<Vec<u8>>,
    pub temp_dir: Option<Vec<u8>>,
    pub alt_dests: Vec<(AltDest, Vec<u8>)>,
    pub fuzzy: u8,
    pub fsync: bool,
    pub mkpath: bool,

    // the wire
    pub checksum_choice: Option<Vec<u8>>,
    pub checksum_seed: Option<i32>,
    /// RSYNC_CHECKSUM_LIST, RSYNC_COMPRESS_LIST: what may be negotiated, best first; `algorithms::half` is one end's.
    pub checksum_list: Option<Vec<u8>>,
    pub compress_list: Option<Vec<u8>>,
    pub compress: Compress,
    pub compress_choice: Option<Vec<u8>>,
    pub compress_level: Option<i32>,
    pub compress_threads: Option<i32>,
    pub skip_compress: Option<Vec<u8>>,
    pub iconv: Option<Vec<u8>>,
    pub protocol: Option<u8>,
    /// Bytes a second, rounded as the reference rounds; 0: none.
    pub bwlimit: u64,
    /// Seconds; 0: none.
    pub timeout: u32,
    /// Seconds; 0: none.
    pub contimeout: i32,
    /// Bytes an allocation may take; `u64::MAX`: no limit.
    pub max_alloc: u64,
    /// As typed, where it differs from the default.
    pub max_alloc_text: Option<Vec<u8>>,
    pub stop_at: Option<SystemTime>,
    pub trust_sender: bool,
    /// The sender's choice of names is not compared with what was asked for. C: trust_sender_args
    pub trust_sender_args: bool,
    pub batch: Option<Batch>,

    // the far side
    /// `-e`; see [`Options::remote_shell`].
    pub rsh: Option<Vec<u8>>,
    /// RSYNC_RSH.
    pub rsh_env: Option<Vec<u8>>,
    pub rsync_path: Vec<u8>,
    pub blocking_io: Option<bool>,
    pub arg_style: ArgStyle,
    pub remote_options: Vec<Vec<u8>>,
    /// What they make of these options for the receiving end of a local copy.
    pub local_far: Option<Box<Options>>,
    /// `-4` or `-6`: 4, 6; 0: either.
    pub address_family: u8,
    pub address: Option<Vec<u8>>,
    pub port: u16,
    pub sockopts: Option<Vec<u8>>,
    pub password_file: Option<Vec<u8>>,
    pub early_input: Option<Vec<u8>>,
    pub copy_as: Option<Vec<u8>>,
    pub confine_root: Option<Vec<u8>>,
    /// On a server: the text after `-e`, the client's capabilities (`.LsfxCIvu`, or `31.14LsfxCIvu` with a
    /// sub-protocol before the point).
    pub client_info: Vec<u8>,

    // a daemon
    pub config: Option<Vec<u8>>,
    /// `--dparam`: `name=value` texts in the order typed.
    pub dparams: Vec<Vec<u8>>,
    pub no_detach: bool,
}

impl Options {
    pub fn is_server(&self) -> bool {
        matches!(self.mode, Mode::ServerReceiver | Mode::ServerSender)
    }

    pub fn recurse(&self) -> bool {
        matches!(self.dirs, Dirs::Recurse | Dirs::OldList)
    }

    /// Forgets what the sender of a local copy does for both ends, unless `-M` asks for it there too. C: pipe.c local_child
    pub(super) fn leave_to_sender(&mut self) {
        self.log_file = None;
        self.chmod = None;
        self.munge_links = false;
    }

    /// `--only-write-batch`: data goes to the file alone, and nothing changes at the destination.
    pub fn only_writes_batch(&self) -> bool {
        matches!(self.batch, Some(Batch::OnlyWrite(_)))
    }

    /// What the sender says is kept in a file.
    pub fn writes_batch(&self) -> bool {
        matches!(self.batch, Some(Batch::Write(_) | Batch::OnlyWrite(_)))
    }

    /// A batch file takes a sender's place.
    pub fn reads_batch(&self) -> bool {
        matches!(self.batch, Some(Batch::Read(_)))
    }

    /// File data travels. C: do_xfers
    pub fn moves_data(&self) -> bool {
        !self.dry_run || self.only_writes_batch()
    }

    /// Keeps a filter option as said now.
    pub fn add_filter(&mut self, arg: FilterArg) {
        let (trace, from0) = (self.levels.debug(Debug::Filter), self.from0);
        let delete_excluded = self.delete_excluded;
        self.filters.push(FilterOption { arg, trace, from0, delete_excluded });
    }

    /// The remote shell's command line, not yet split: `-e`, RSYNC_RSH, `ssh`.
    pub fn remote_shell(&self) -> &[u8] {
        self.rsh.as_deref().or(self.rsh_env.as_deref()).unwrap_or(b"ssh")
    }
}
