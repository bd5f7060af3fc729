//! From what was typed to `Options`: implications drawn, contradictions refused. C: options.c parse_arguments

use std::os::unix::ffi::OsStringExt;

use super::{
    Append, ArgStyle, Batch, Delete, Dirs, FilterArg, Info, Mode, Options, Outbuf, Stderr, Super, algorithms,
    flags::Flag,
    target::HostSpec,
    typed::{Typed, leading_int, size, wrong},
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    text::number::SizeRule,
};

/// Reads an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// Where `--delay-updates` collects files when no `--partial-dir` was given.
pub const DELAYED_DIR: &[u8] = b".~tmp~";

const DEFAULT_MAX_ALLOC: u64 = 1 << 30;
/// The longest path, its end marker included.
const MAXPATHLEN: usize = 4096;

/// Draws the conclusions. The contradictions are found in the reference's order.
pub fn resolve(mut typed: Typed, env: Env) -> Result<Options> {
    conclude(&mut typed, env)?;
    Ok(typed.options)
}

/// As `resolve`, but also for options whose effect this build has not.
pub fn conclude(typed: &mut Typed, env: Env) -> Result<()> {
    settle_mode(typed);
    settle_max_alloc(typed, env)?;
    settle_arg_style(typed, env)?;
    algorithms::settle_checksum(typed, env)?;
    algorithms::settle_compression(typed, env)?;
    settle_output(typed)?;
    if typed.server && typed.options.arg_style == ArgStyle::Secluded && !typed.secluded_read {
        return Ok(()); // the rest comes over the wire and is read first
    }
    settle_args(typed);
    settle_batch(typed)?;
    settle_temp_dir(typed)?;
    settle_choice(typed)?;
    settle_removal(typed)?;
    settle_links(typed)?;
    settle_backup(typed)?;
    settle_formats(&mut typed.options);
    settle_limits(typed);
    settle_writing(typed, env)?;
    settle_files_from(typed)?;
    let options = &mut typed.options;
    let trusted = options.trust_sender || options.is_server() || options.reads_batch();
    options.trust_sender = trusted;
    options.trust_sender_args =
        trusted || matches!(options.arg_style, ArgStyle::Old | ArgStyle::Verbatim) || options.files_from_host.is_some();
    Ok(())
}

pub(super) fn settle_mode(typed: &mut Typed) {
    let options = &mut typed.options;
    options.mode = match (typed.server, typed.sender) {
        (false, _) => Mode::Client,
        (true, false) => Mode::ServerReceiver,
        (true, true) => Mode::ServerSender,
    };
    if let Some(info) = options.rsh.take_if(|_| typed.server) {
        options.client_info = info;
    }
    options.protocol = typed.protocol.map(|version| version.clamp(0, 255) as u8);
    options.checksum_seed = options.checksum_seed.filter(|&seed| seed != 0);
    options.block_size = typed.block_size.filter(|&size| size != 0);
    options.bwlimit = typed.bwlimit * 1024;
}

fn settle_max_alloc(typed: &mut Typed, env: Env) -> Result<()> {
    let text = typed.max_alloc.clone().or_else(|| env("RSYNC_MAX_ALLOC").filter(|text| !text.is_empty()));
    let options = &mut typed.options;
    options.max_alloc = DEFAULT_MAX_ALLOC;
    if let Some(text) = text {
        let rule = SizeRule { unit: b'B', min: 1 << 20, max: None, zero_is_unlimited: true };
        options.max_alloc = match size("max-alloc", rule, &text)? {
            0 => u64::MAX,
            size => size,
        };
        options.max_alloc_text = (options.max_alloc != DEFAULT_MAX_ALLOC).then_some(text);
    }
    Ok(())
}

/// `--old-args` and `-s` exclude each other; each may come from the environment where neither was said.
fn settle_arg_style(typed: &mut Typed, env: Env) -> Result<()> {
    let from_env = |name: &str| env(name).filter(|text| !text.is_empty()).map(|text| leading_int(&text));
    let mut secluded = typed.secluded;
    let old = match typed.old_args {
        None => {
            let asked = if typed.server || secluded == Some(true) { None } else { from_env("RSYNC_OLD_ARGS") };
            if asked.is_some() {
                secluded = Some(false);
            }
            asked.unwrap_or(0)
        }
        Some(0) => 0,
        Some(count) => {
            if secluded == Some(true) {
                return Err(wrong("--secluded-args conflicts with --old-args."));
            }
            secluded = Some(false);
            i64::from(count)
        }
    };
    let secluded =
        secluded.unwrap_or_else(|| !typed.server && from_env("RSYNC_PROTECT_ARGS").is_some_and(|number| number != 0));
    typed.options.arg_style = match (secluded, old) {
        (true, _) => ArgStyle::Secluded,
        (false, 0) => ArgStyle::Escaped,
        (false, 2..) => ArgStyle::Verbatim,
        (false, _) => ArgStyle::Old,
    };
    Ok(())
}

fn settle_output(typed: &mut Typed) -> Result<()> {
    let options = &mut typed.options;
    if let Some(mode) = typed.outbuf.take().filter(|_| !typed.server) {
        options.outbuf = Some(match mode.first().map(u8::to_ascii_uppercase) {
            Some(b'N' | b'U') => Outbuf::None,
            Some(b'L') => Outbuf::Line,
            Some(b'B' | b'F') => Outbuf::Block,
            _ => return Err(wrong("Invalid --outbuf setting -- specify N, L, or B.")),
        });
    }
    options.levels.imply_verbosity(options.verbose);
    if options.stats {
        options.levels.imply_info(if options.verbose > 1 { "stats3" } else { "stats2" });
    }
    if !typed.server && options.iconv.as_deref() == Some(b"-") {
        options.iconv = None;
    }
    if options.fuzzy > 1 {
        options.fuzzy = u8::try_from(options.alt_dests.len() + 1).unwrap_or(u8::MAX);
    }
    Ok(())
}

fn settle_args(typed: &mut Typed) {
    let mut args = std::mem::take(&mut typed.args).into_iter();
    let options = &mut typed.options;
    if typed.server {
        options.base_dir = args.next().unwrap_or_else(|| b".".to_vec());
    }
    options.args = args.map(OsStringExt::from_vec).collect();
}

fn settle_batch(typed: &mut Typed) -> Result<()> {
    let options = &mut typed.options;
    if options.super_user == Super::Fake && options.xattrs > 1 {
        return Err(wrong("--fake-super conflicts with -XX"));
    }
    if typed.write_batch != 0 && typed.read_batch {
        return Err(wrong("--write-batch and --read-batch can not be used together"));
    }
    let at_server = typed.server && (typed.write_batch > 0 || typed.read_batch);
    if at_server || options.dry_run {
        typed.write_batch = 0;
    }
    if at_server {
        typed.read_batch = false; // older clients say so
    }
    if typed.read_batch && options.files_from.is_some() {
        return Err(wrong("--read-batch cannot be used with --files-from"));
    }
    if typed.read_batch && options.remove_source_files > 0 {
        let which = if options.remove_source_files == 1 { "source" } else { "sent" };
        return Err(wrong(bytes!["--read-batch cannot be used with --remove-", which, "-files"]));
    }
    let Some(name) = typed.batch_name.take() else { return Ok(()) };
    if name.len() > 256 {
        return Err(wrong("the batch-file name must be 256 characters or less."));
    }
    options.batch = match (typed.read_batch, typed.write_batch) {
        (true, _) => Some(Batch::Read(name)),
        (false, 1) => Some(Batch::Write(name)),
        (false, -1) => Some(Batch::OnlyWrite(name)),
        (false, _) => None,
    };
    options.dry_run |= options.only_writes_batch();
    Ok(())
}

fn settle_temp_dir(typed: &Typed) -> Result<()> {
    if typed.options.temp_dir.as_ref().is_some_and(|dir| dir.len() >= MAXPATHLEN - 10) {
        return Err(wrong("the --temp-dir path is WAY too long."));
    }
    Ok(())
}

/// Recursion, directories, relative names, listing.
fn settle_choice(typed: &mut Typed) -> Result<()> {
    let options = &mut typed.options;
    options.max_delete = options.max_delete.filter(|&max| max != i32::MIN).map(|max| max.max(0));
    if options.files_from.is_some() && typed.recurse == 1 {
        typed.recurse = 0;
    }
    options.list_only = options.list_only_given || options.args.len() < 2 && !options.reads_batch() && !typed.server;
    options.dirs = match (typed.dirs, typed.recurse) {
        (Some(4..), _) => Dirs::OldList,
        (_, 1..) => Dirs::Recurse,
        (Some(0), 0) => Dirs::Skip,
        (Some(_), 0) => Dirs::List,
        (None, 0) if options.files_from.is_some() || options.list_only => Dirs::Implied,
        (None, 0) => Dirs::Skip,
    };
    if options.dirs == Dirs::OldList {
        options.add_filter(FilterArg::Filter(b"- /*/*".to_vec()));
    }
    options.recurse_said = typed.recurse > 1;
    options.relative = typed.relative.unwrap_or(options.files_from.is_some());
    options.implied_dirs &= options.relative;
    Ok(())
}

fn settle_removal(typed: &mut Typed) -> Result<()> {
    let when = [typed.delete_before, typed.delete_during > 0, typed.delete_after];
    if when.into_iter().filter(|&said| said).count() > 1 {
        return Err(wrong("You may not combine multiple --delete-WHEN options."));
    }
    let options = &mut typed.options;
    options.delete = match when {
        [true, ..] => Delete::Before,
        [_, true, _] if typed.delete_during == 2 => Delete::Delay,
        [_, true, _] => Delete::During,
        [.., true] => Delete::After,
        _ if typed.delete || options.delete_excluded => Delete::Auto,
        _ => Delete::Never,
    };
    if options.delete != Delete::Never && options.dirs == Dirs::Skip {
        return Err(wrong("--delete does not work without --recursive (-r) or --dirs (-d)."));
    }
    options.ignore_missing_args &= !options.delete_missing_args;
    Ok(())
}

/// What munging prefixes to a link's text must not lead anywhere.
const MUNGE_DIR: &str = "/rsyncd-munged";

fn settle_links(typed: &Typed) -> Result<()> {
    let options = &typed.options;
    if options.munge_links && std::fs::metadata(MUNGE_DIR).is_ok_and(|found| found.is_dir()) {
        let line = bytes!["Symlink munging is unsafe when a ", MUNGE_DIR, " directory exists."];
        return Err(Error::new(ExitCode::UNSUPPORTED, line));
    }
    match options.confine_root.as_deref() {
        Some(root) if !root.starts_with(b"/") => Err(wrong("--confine-root must be an absolute path")),
        Some(_) if options.insecure_links => Err(wrong("--insecure-links cannot be combined with --confine-root")),
        _ => Ok(()),
    }
}

fn settle_backup(typed: &mut Typed) -> Result<()> {
    let options = &mut typed.options;
    let usual: &[u8] = if options.backup_dir.is_some() { b"" } else { b"~" };
    let suffix = typed.suffix.take().unwrap_or_else(|| usual.to_vec());
    if suffix.contains(&b'/') {
        return Err(wrong(bytes!["--suffix cannot contain slashes: ", suffix]));
    }
    let mut same_dir = false;
    if let Some(dir) = options.backup_dir.take() {
        options.backup = true;
        let mut dir = &dir[..];
        while let Some(rest) = dir.strip_prefix(b"./") {
            dir = rest;
        }
        if dir == b"." {
            dir = b"";
        }
        if dir.len() > MAXPATHLEN - 128 {
            return Err(wrong("the --backup-dir path is WAY too long."));
        }
        same_dir = dir.is_empty();
        options.backup_dir = (!same_dir).then(|| dir.to_vec());
    }
    if options.backup_dir.is_none() {
        if suffix.is_empty() && options.mode != Mode::ServerSender {
            let when =
                if same_dir { "when --backup-dir is the same as the dest dir" } else { "without a --backup-dir" };
            return Err(wrong(bytes!["--suffix cannot be empty ", when]));
        }
        let protects = options.backup && options.delete != Delete::Never && !options.delete_excluded;
        if protects && !typed.server && !suffix.is_empty() {
            options.add_filter(FilterArg::Filter(bytes!["P *", suffix]));
        }
        if options.backup {
            options.omit_dir_times_implied = true;
            options.omit_dir_times = true;
        }
    }
    options.suffix = Some(suffix);
    Ok(())
}

/// What is said about each entry, and when.
fn settle_formats(options: &mut Options) {
    let server = options.is_server();
    if let Some(format) = &options.out_format {
        if server && format_has(format, b'I') {
            options.out_format_has_i = 2;
        } else if format_has(format, b'i') {
            options.out_format_has_i = options.itemize | 1;
        }
        options.log_before_transfer = !server && !b"bcC".iter().any(|&escape| format_has(format, escape));
    } else if options.itemize > 0 {
        options.out_format = Some(b"%i %n%L".to_vec());
        options.out_format_has_i = options.itemize;
        options.log_before_transfer = !server;
    }
    if options.progress && !server {
        if !options.log_before_transfer && options.levels.info(Info::Name) == 0 {
            options.levels.imply_info("name");
        }
        options.levels.imply_info("FLIST2,PROGRESS");
    }
    if options.out_format.is_none() && options.levels.info(Info::Name) > 0 {
        options.out_format = Some(b"%n%L".to_vec());
        options.log_before_transfer = !server;
    }
    options.out_format_has_o_or_i =
        options.out_format_has_i > 0 || options.out_format.as_ref().is_some_and(|format| format_has(format, b'o'));
}

/// Whether a format has an escape such as `%i`, perhaps with a width. C: log.c log_format_has
pub fn format_has(format: &[u8], escape: u8) -> bool {
    let mut rest = format;
    while let Some(at) = memchr::memchr(b'%', rest) {
        rest = &rest[at + 1..];
        let quotes = |text: &[u8]| text.iter().take_while(|&&b| b == b'\'').count();
        rest = &rest[quotes(rest)..];
        rest = rest.strip_prefix(b"-").unwrap_or(rest);
        let width = rest.iter().take(23).take_while(|b| b.is_ascii_digit()).count();
        rest = &rest[width..];
        rest = &rest[quotes(rest)..];
        match rest.first() {
            None => return false,
            Some(&found) if found == escape => return true,
            Some(b'%') => rest = &rest[1..],
            Some(_) => {}
        }
    }
    false
}

fn settle_limits(typed: &mut Typed) {
    typed.options.timeout = u32::try_from(typed.timeout).unwrap_or(0);
}

fn settle_writing(typed: &mut Typed, env: Env) -> Result<()> {
    let append = typed.append_mode();
    let options = &mut typed.options;
    options.append = append;
    if append != Append::No {
        if options.whole_file == Some(true) {
            return Err(wrong("--append cannot be used with --whole-file"));
        }
        options.inplace = true;
    }
    options.inplace |= options.write_devices;
    if options.delay_updates && options.partial_dir.is_none() {
        options.partial_dir = Some(DELAYED_DIR.to_vec());
    }
    if options.inplace {
        if options.partial_dir.is_some() {
            let first = if append != Append::No { "append" } else { "inplace" };
            let second = if options.delay_updates { "delay-updates" } else { "partial-dir" };
            return Err(wrong(bytes!["--", first, " cannot be used with --", second]));
        }
        options.partial = false;
        return Ok(());
    }
    if options.partial && options.partial_dir.is_none() && !typed.server {
        options.partial_dir = env("RSYNC_PARTIAL_DIR").filter(|dir| !dir.is_empty());
    }
    if let Some(dir) = options.partial_dir.take() {
        options.partial = true;
        options.partial_dir = clean_dir(&dir);
    }
    Ok(())
}

/// `None`: the directory itself.
fn clean_dir(dir: &[u8]) -> Option<Vec<u8>> {
    use crate::text::path::{Clean, DotDot, clean};
    let how = Clean { dot_dot: DotDot::Collapse, ..Clean::default() };
    clean(dir, how).filter(|dir| !dir.is_empty() && dir != b".")
}

fn settle_files_from(typed: &mut Typed) -> Result<()> {
    let options = &mut typed.options;
    let Some(list) = options.files_from.clone() else { return Ok(()) };
    let args = options.args.len() + usize::from(typed.server);
    if args > 2 || !typed.server && args == 1 {
        return Err(super::help::usage_error());
    }
    if list == b"-" {
        return Ok(());
    }
    let Some(spec) = HostSpec::parse(&list) else { return Ok(()) };
    if typed.server {
        return Err(wrong("The --files-from sent to the server cannot specify a host."));
    }
    if spec.path == b"-" {
        return Err(wrong("Invalid --files-from remote filename"));
    }
    options.files_from = Some(spec.path);
    options.files_from_host = Some(spec.host);
    Ok(())
}

/// The one line about an option that this build only knows by name.
#[track_caller]
pub fn unsupported(flag: &Flag) -> Error {
    Error::new(ExitCode::UNSUPPORTED, bytes!["rsync: ", flag.spelling(), " is not supported by this build"])
}

/// Whether messages of this side go to stderr although they are information. C: log.c rwrite
pub fn informs_on_stderr(typed: &Typed) -> bool {
    typed.server || typed.options.stderr == Stderr::All
}
