//! The one table of options.
//!
//! The rows stand in the order of `--help`; those without help lines are known but not shown.

use super::{Flag, Group, Special};
use crate::{
    bytes,
    compress::Method,
    error::{Error, ExitCode},
    options::{
        AltDest, Append, Compress, Delete, Dirs, FilterArg, Options, Stderr, Super,
        typed::{Done, FILE_SIZE, Stop, Typed, size, wrong},
        verbosity::{self, Unusable},
    },
    text::mode::Chmod,
};

const fn voice(long: &'static str) -> Flag {
    Flag::new(Group::Voice, long)
}
const fn choice(long: &'static str) -> Flag {
    Flag::new(Group::Choice, long)
}
const fn link(long: &'static str) -> Flag {
    Flag::new(Group::Links, long)
}
const fn meta(long: &'static str) -> Flag {
    Flag::new(Group::Metadata, long)
}
const fn removal(long: &'static str) -> Flag {
    Flag::new(Group::Removal, long)
}
const fn writing(long: &'static str) -> Flag {
    Flag::new(Group::Writing, long)
}
const fn wire(long: &'static str) -> Flag {
    Flag::new(Group::Wire, long)
}
const fn far(long: &'static str) -> Flag {
    Flag::new(Group::FarSide, long)
}
const fn daemon(long: &'static str) -> Flag {
    Flag::new(Group::Daemon, long)
}
const fn inner(long: &'static str) -> Flag {
    Flag::new(Group::Inner, long)
}

/// A switch that a field of `Options` keeps.
macro_rules! set {
    ($field:ident) => {
        |t, on| t.options.$field = on
    };
}

/// A switch whose every mention counts, and whose negation forgets them.
macro_rules! count {
    ($field:ident) => {
        |t, on| t.options.$field = if on { t.options.$field.saturating_add(1) } else { 0 }
    };
}

/// A value that a field of `Options` keeps as typed.
macro_rules! keep {
    ($field:ident) => {
        |t, v| {
            t.options.$field = v.map(<[u8]>::to_vec);
            Ok(())
        }
    };
}

/// An option of the filter language: kept in the order typed, across kinds.
macro_rules! filter {
    ($kind:ident) => {
        |t, v| {
            if let Some(text) = v {
                t.options.add_filter(FilterArg::$kind(text.to_vec()));
            }
            Ok(())
        }
    };
}

macro_rules! alt_dest {
    ($kind:ident) => {
        |t, v| alt_dest(t, AltDest::$kind, v.unwrap_or_default())
    };
}

#[rustfmt::skip]
pub static FLAGS: &[Flag] = &[
    voice("verbose").short(b'v').off(&["no-verbose", "no-v"]).switch(count!(verbose)).letter(|f| f.o.verbose.min(9))
        .help(&[("", "increase verbosity")]),
    voice("info").text("FLAGS", |t, v| { let list = v.unwrap_or_default();
            usable("--info", verbosity::info_help, t.options.levels.read_info(list, t.server)) })
        .words(|f| { let words = f.o.levels.info_option(!f.we_send); f.words.extend(words) })
        .help(&[("", "fine-grained informational verbosity")]),
    voice("debug").text("FLAGS", |t, v| { let list = v.unwrap_or_default();
            usable("--debug", verbosity::debug_help, t.options.levels.read_debug(list, t.server)) })
        .help(&[("", "fine-grained debug verbosity")]),
    voice("stderr").text("e|a|c", |t, v| t.set_stderr(v.unwrap_or_default()))
        .help(&[("", "change stderr output mode (default: errors)")]),
    voice("msgs2stderr").off(&["no-msgs2stderr"])
        .switch(|t, on| t.options.stderr = if on { Stderr::All } else { Stderr::Client })
        .words(|f| match f.o.stderr {
            Stderr::All => f.say(true, "--msgs2stderr"),
            Stderr::Client => f.say(true, "--no-msgs2stderr"),
            Stderr::Errors => {}
        }),
    voice("quiet").short(b'q').switch(count!(quiet)).letter(|f| u8::from(f.o.quiet > 0 && f.o.stderr != Stderr::Client))
        .help(&[("", "suppress non-error messages")]),
    voice("motd").off(&["no-motd"]).switch(set!(motd)).help(&[("--no-motd", "suppress daemon-mode MOTD")]),
    choice("checksum").short(b'c').off(&["no-checksum", "no-c"]).switch(set!(checksum)).letter(|f| f.o.checksum.into())
        .help(&[("", "skip based on checksum, not mod-time & size")]),
    choice("archive").short(b'a').switch(|t, _| t.archive())
        .help(&[("", "archive mode is -rlptgoD (no -A,-X,-U,-N,-H)"),
                ("--no-OPTION", "turn off an implied OPTION (e.g. --no-D)")]),
    choice("recursive").short(b'r').off(&["no-recursive", "no-r"]).switch(|t, on| t.recurse = if on { 2 } else { 0 })
        .letter(|f| f.o.recurse().into())
        .words(|f| f.say(f.lists_only_dirs() && f.deletes() && f.we_send, "--no-r"))
        .help(&[("", "recurse into directories")]),
    choice("inc-recursive").also(&["i-r"]).off(&["no-inc-recursive", "no-i-r"]).switch(set!(allow_inc_recurse))
        .help(&[("--inc-recursive, --i-r", "enable incremental recursion"),
                ("--no-inc-recursive", "disable incremental recursion"),
                ("--no-i-r", "same as --no-inc-recursive")]),
    choice("relative").short(b'R').off(&["no-relative", "no-R"]).switch(|t, on| t.relative = Some(on))
        .letter(|f| f.o.relative.into()).help(&[("", "use relative path names")]),
    choice("implied-dirs").also(&["i-d"]).off(&["no-implied-dirs", "no-i-d"]).switch(set!(implied_dirs))
        .words(|f| f.say(f.o.relative && !f.o.implied_dirs && (!f.we_send || f.protocol() >= 30), "--no-implied-dirs"))
        .help(&[("--no-implied-dirs", "don't send implied directories with --relative")]),
    writing("backup").short(b'b').off(&["no-backup"]).switch(set!(backup)).letter(|f| f.o.backup.into())
        .help(&[("", "make backups (see --suffix & --backup-dir)")]),
    writing("backup-dir").text("DIR", keep!(backup_dir)).words(|f| f.say_split("--backup-dir", &f.o.backup_dir))
        .help(&[("", "make backups into hierarchy based in DIR")]),
    writing("suffix").text("SUFFIX", |t, v| { t.suffix = v.map(<[u8]>::to_vec); Ok(()) })
        .words(|f| { let usual: &[u8] = if f.o.backup_dir.is_some() { b"" } else { b"~" };
            if f.o.suffix.as_deref().is_some_and(|suffix| suffix != usual) { f.say_value("--suffix", &f.o.suffix) } })
        .help(&[("", "backup suffix (default ~ w/o --backup-dir)")]),
    choice("update").short(b'u').switch(set!(update)).letter(|f| f.o.update.into())
        .help(&[("", "skip files that are newer on the receiver")]),
    writing("inplace").off(&["no-inplace"]).switch(set!(inplace))
        .words(|f| if f.o.append == Append::No && f.o.inplace {
            f.say(true, "--inplace");
            f.say(f.o.sparse && f.o.whole_file == Some(false) && f.we_send, "--no-W");
        })
        .help(&[("", "update destination files in-place")]),
    writing("append").off(&["no-append"]).switch(|t, on| if on { t.set_append() } else { t.append = 0 })
        .words(|f| for _ in 0..f.o.append as u8 { f.say(true, "--append") })
        .help(&[("", "append data onto shorter files")]),
    writing("append-verify").switch(|t, _| t.append = 2)
        .help(&[("", "--append w/old data in file checksum")]),
    choice("dirs").short(b'd').off(&["no-dirs", "no-d"]).switch(|t, on| t.dirs = Some(if on { 2 } else { 0 }))
        .letter(|f| (f.o.dirs == Dirs::List
            || f.lists_only_dirs() && (f.o.list_only || f.deletes() && f.we_send)).into())
        .help(&[("", "transfer directories without recursing")]),
    choice("old-dirs").also(&["old-d"]).switch(|t, _| t.dirs = Some(4))
        .help(&[("", "works like --dirs when talking to old rsync"), ("--old-d", "same as --old-dirs")]),
    writing("mkpath").off(&["no-mkpath"]).switch(set!(mkpath)).words(|f| f.say(f.o.mkpath && f.we_send, "--mkpath"))
        .help(&[("", "create destination's missing path components")]),
    link("links").short(b'l').off(&["no-links", "no-l"]).switch(set!(links)).letter(|f| f.o.links.into())
        .help(&[("", "copy symlinks as symlinks")]),
    link("copy-links").short(b'L').switch(set!(copy_links)).letter(|f| (f.o.copy_links && !f.we_send).into())
        .help(&[("", "transform symlink into referent file/directory")]),
    link("copy-unsafe-links").switch(set!(copy_unsafe_links))
        .words(|f| f.say(f.o.copy_unsafe_links, "--copy-unsafe-links"))
        .help(&[("", "only \"unsafe\" symlinks are transformed")]),
    link("safe-links").switch(set!(safe_links)).words(|f| f.say(f.o.safe_links, "--safe-links"))
        .help(&[("", "ignore symlinks that point outside the tree")]),
    link("insecure-links").off(&["no-insecure-links"]).switch(set!(insecure_links))
        .help(&[("", "follow attacker-owned symlinks in operator paths")]),
    link("confine-root").text("DIR", keep!(confine_root))
        .help(&[("", "refuse operator paths resolving outside DIR")]),
    link("munge-links").off(&["no-munge-links"]).switch(set!(munge_links))
        .help(&[("", "munge symlinks to make them safe & unusable")]),
    link("copy-dirlinks").short(b'k').switch(set!(copy_dirlinks)).letter(|f| (f.o.copy_dirlinks && !f.we_send).into())
        .help(&[("", "transform symlink to directory into referent directory")]),
    link("keep-dirlinks").short(b'K').switch(set!(keep_dirlinks)).letter(|f| (f.o.keep_dirlinks && f.we_send).into())
        .help(&[("", "treat symlinked directory on receiver as directory")]),
    link("hard-links").short(b'H').off(&["no-hard-links", "no-H"]).switch(count!(hard_links))
        .letter(|f| f.o.hard_links.min(2)).help(&[("", "preserve hard links")]),
    meta("perms").short(b'p').off(&["no-perms", "no-p"]).switch(set!(perms)).letter(|f| f.o.perms.into())
        .help(&[("", "preserve permissions")]),
    meta("executability").short(b'E').switch(set!(executability))
        .letter(|f| (!f.o.perms && f.o.executability && f.we_send).into())
        .help(&[("", "preserve executability")]),
    meta("chmod").text("CHMOD", |t, v| add_chmod(&mut t.options, v.unwrap_or_default()))
        .help(&[("", "affect file and/or directory permissions")]),
    meta("acls").short(b'A').off(&["no-acls", "no-A"])
        .switch(|t, on| { t.options.acls = on; t.options.perms |= on; }).letter(|f| f.o.acls.into())
        .help(&[("", "preserve ACLs (implies --perms)")]),
    meta("xattrs").short(b'X').off(&["no-xattrs", "no-X"]).switch(count!(xattrs))
        .letter(|f| f.o.xattrs.min(2)).help(&[("", "preserve extended attributes")]),
    meta("owner").short(b'o').off(&["no-owner", "no-o"]).switch(set!(owner)).letter(|f| f.o.owner.into())
        .help(&[("", "preserve owner (super-user only)")]),
    meta("group").short(b'g').off(&["no-group", "no-g"]).switch(set!(group)).letter(|f| f.o.group.into())
        .help(&[("", "preserve group")]),
    meta("devices").off(&["no-devices"]).switch(set!(devices)).help(&[("", "preserve device files (super-user only)")]),
    meta("copy-devices").switch(set!(copy_devices))
        .words(|f| f.say(f.o.copy_devices && !f.we_send, "--copy-devices"))
        .help(&[("", "copy device contents as a regular file")]),
    meta("write-devices").off(&["no-write-devices"]).switch(set!(write_devices))
        .words(|f| f.say(f.o.write_devices && f.we_send, "--write-devices"))
        .help(&[("", "write to devices as files (implies --inplace)")]),
    meta("specials").off(&["no-specials"]).switch(set!(specials))
        .words(|f| {
            f.say(f.o.devices && !f.o.specials, "--no-specials");
            f.say(!f.o.devices && f.o.specials, "--specials");
        })
        .help(&[("", "preserve special files")]),
    meta("drop-D").off(&["no-drop-D"]).switch(set!(drop_devices))
        .help(&[("", "receiver refuses to create devices/specials")]),
    meta("").short(b'D').off(&["no-D"]).switch(|t, on| { t.options.devices = on; t.options.specials = on; })
        .letter(|f| f.o.devices.into()).help(&[("-D", "same as --devices --specials")]),
    meta("times").short(b't').off(&["no-times", "no-t"]).switch(set!(times)).letter(|f| f.o.times.into())
        .help(&[("", "preserve modification times")]),
    meta("atimes").short(b'U').off(&["no-atimes", "no-U"])
        .switch(|t, on| {
            t.options.atimes = if on { t.options.atimes.saturating_add(1) } else { 0 };
            t.options.open_noatime |= t.options.atimes > 1;
        })
        .letter(|f| f.o.atimes.min(2)).help(&[("", "preserve access (use) times")]),
    meta("open-noatime").off(&["no-open-noatime"]).switch(set!(open_noatime))
        .words(|f| f.say(f.o.open_noatime && f.o.atimes <= 1, "--open-noatime"))
        .help(&[("", "avoid changing the atime on opened files")]),
    meta("crtimes").short(b'N').off(&["no-crtimes", "no-N"]).special(Special::Unavailable)
        .help(&[("", "preserve create times (newness)")]),
    meta("omit-dir-times").short(b'O').off(&["no-omit-dir-times", "no-O"]).switch(set!(omit_dir_times))
        .letter(|f| (f.o.omit_dir_times && !f.o.omit_dir_times_implied && f.we_send).into())
        .help(&[("", "omit directories from --times")]),
    meta("omit-link-times").short(b'J').off(&["no-omit-link-times", "no-J"]).switch(set!(omit_link_times))
        .letter(|f| (f.o.omit_link_times && f.we_send).into()).help(&[("", "omit symlinks from --times")]),
    meta("super").off(&["no-super"]).switch(|t, on| t.options.super_user = if on { Super::Yes } else { Super::No })
        .words(|f| f.say(f.o.super_user == Super::Yes && f.we_send, "--super"))
        .help(&[("", "receiver attempts super-user activities")]),
    meta("fake-super").switch(|t, _| t.options.super_user = Super::Fake)
        .help(&[("", "store/recover privileged attrs using xattrs")]),
    writing("sparse").short(b'S').off(&["no-sparse", "no-S"]).switch(set!(sparse)).letter(|f| f.o.sparse.into())
        .help(&[("", "turn sequences of nulls into sparse blocks")]),
    writing("preallocate").switch(set!(preallocate)).words(|f| f.say(f.o.preallocate && f.we_send, "--preallocate"))
        .help(&[("", "allocate dest files before writing them")]),
    writing("dry-run").short(b'n').switch(set!(dry_run)).letter(|f| (!f.o.moves_data()).into())
        .help(&[("", "perform a trial run with no changes made")]),
    writing("whole-file").short(b'W').off(&["no-whole-file", "no-W"]).switch(|t, on| t.options.whole_file = Some(on))
        .letter(|f| (f.o.whole_file == Some(true)).into())
        .help(&[("", "copy files whole (w/o delta-xfer algorithm)"),
                ("--no-whole-file, --no-W", "use the delta-xfer algorithm")]),
    wire("checksum-choice").also(&["cc"]).text("STR", keep!(checksum_choice))
        .words(|f| f.say_value("--checksum-choice", &f.o.checksum_choice))
        .help(&[("", "choose the checksum algorithm (aka --cc)")]),
    choice("one-file-system").short(b'x').off(&["no-one-file-system", "no-x"]).switch(count!(one_file_system))
        .letter(|f| f.o.one_file_system.min(2)).help(&[("", "don't cross filesystem boundaries")]),
    writing("block-size").short(b'B').text("SIZE", |t, v| t.set_block_size(v.unwrap_or_default()))
        .words(|f| f.words.extend(f.o.block_size.map(|size| bytes!["-B", size])))
        .help(&[("", "force a fixed checksum block-size")]),
    far("rsh").short(b'e').text("COMMAND", keep!(rsh)).help(&[("", "specify the remote shell to use")]),
    far("rsync-path").text("PROGRAM", |t, v| { t.options.rsync_path = v.unwrap_or_default().to_vec(); Ok(()) })
        .help(&[("", "specify the rsync to run on remote machine")]),
    choice("existing").switch(set!(existing)).words(|f| f.say(f.o.existing && f.we_send, "--existing"))
        .help(&[("", "skip creating new files on receiver")]),
    choice("ignore-non-existing").switch(set!(existing)).help(&[("", "skip creating new files on receiver")]),
    choice("ignore-existing").switch(set!(ignore_existing))
        .words(|f| f.say(f.o.ignore_existing && f.we_send, "--ignore-existing"))
        .help(&[("", "skip updating files that exist on receiver")]),
    removal("remove-source-files").switch(|t, _| t.options.remove_source_files = 1)
        .words(|f| match f.o.remove_source_files {
            0 => {}
            1 => f.say(true, "--remove-source-files"),
            _ => f.say(true, "--remove-sent-files"),
        })
        .help(&[("", "sender removes synchronized files (non-directory)")]),
    removal("remove-sent-files").switch(|t, _| t.options.remove_source_files = 2),
    removal("del").switch(|t, _| t.delete_during = 1).help(&[("", "an alias for --delete-during")]),
    removal("delete").switch(|t, _| t.delete = true)
        .words(|f| f.say(f.we_send, match f.o.delete {
            Delete::Before => "--delete-before",
            Delete::Delay => "--delete-delay",
            Delete::During => "--delete-during",
            Delete::After => "--delete-after",
            Delete::Auto if !f.o.delete_excluded => "--delete",
            Delete::Auto | Delete::Never => "",
        }))
        .help(&[("", "delete extraneous files from dest directories")]),
    removal("delete-before").switch(|t, _| t.delete_before = true)
        .help(&[("", "receiver deletes before xfer, not during")]),
    removal("delete-during").switch(|t, _| t.delete_during = 1)
        .help(&[("", "receiver deletes during the transfer")]),
    removal("delete-delay").switch(|t, _| t.delete_during = 2)
        .help(&[("", "find deletions during, delete after")]),
    removal("delete-after").switch(|t, _| t.delete_after = true)
        .help(&[("", "receiver deletes after transfer, not during")]),
    removal("delete-excluded").switch(set!(delete_excluded))
        .words(|f| f.say(f.o.delete_excluded && f.we_send, "--delete-excluded"))
        .help(&[("", "also delete excluded files from dest directories")]),
    choice("ignore-missing-args").switch(set!(ignore_missing_args))
        .words(|f| f.say(f.o.ignore_missing_args && !f.we_send, "--ignore-missing-args"))
        .help(&[("", "ignore missing source arguments without error")]),
    removal("delete-missing-args").switch(set!(delete_missing_args))
        .words(|f| f.say(f.o.delete_missing_args, "--delete-missing-args"))
        .help(&[("", "delete missing source arguments from destination")]),
    removal("ignore-errors").off(&["no-ignore-errors"]).switch(set!(ignore_errors))
        .words(|f| f.say(f.o.ignore_errors, "--ignore-errors"))
        .help(&[("", "delete even if there are I/O errors")]),
    removal("force").off(&["no-force"]).switch(set!(force)).words(|f| f.say(f.o.force && f.we_send, "--force"))
        .help(&[("", "force deletion of directories even if not empty")]),
    removal("max-delete").number("NUM", |t, v| t.options.max_delete = v)
        .words(|f| if f.we_send && let Some(max) = f.o.max_delete {
            f.words.push(bytes!["--max-delete=", if max == 0 { -1 } else { max }]);
        })
        .help(&[("", "don't delete more than NUM files")]),
    choice("max-size").text("SIZE", |t, v| {
            t.options.max_size = Some(size("max-size", FILE_SIZE, v.unwrap_or_default())?); Ok(()) })
        .words(|f| if f.we_send { f.words.extend(f.o.max_size.map(|size| bytes!["--max-size=", size])) })
        .help(&[("", "don't transfer any file larger than SIZE")]),
    choice("min-size").text("SIZE", |t, v| {
            t.options.min_size = Some(size("min-size", FILE_SIZE, v.unwrap_or_default())?); Ok(()) })
        .words(|f| if f.we_send { f.words.extend(f.o.min_size.map(|size| bytes!["--min-size=", size])) })
        .help(&[("", "don't transfer any file smaller than SIZE")]),
    wire("max-alloc").text("SIZE", |t, v| { t.max_alloc = v.map(<[u8]>::to_vec); Ok(()) })
        .words(|f| f.say_value("--max-alloc", &f.o.max_alloc_text))
        .help(&[("", "change a limit relating to memory alloc")]),
    writing("partial").off(&["no-partial"]).switch(set!(partial))
        .words(|f| f.say(f.o.partial && f.o.partial_dir.is_none() && f.we_send, "--partial"))
        .help(&[("", "keep partially transferred files")]),
    writing("partial-dir").text("DIR", keep!(partial_dir))
        .words(|f| if f.we_send && !f.partial_dir_is_implied() { f.say_split("--partial-dir", &f.o.partial_dir) })
        .help(&[("", "put a partially transferred file into DIR")]),
    writing("delay-updates").off(&["no-delay-updates"]).switch(set!(delay_updates))
        .words(|f| f.say(f.o.delay_updates && f.we_send, "--delay-updates"))
        .help(&[("", "put all updated files into place at end")]),
    choice("prune-empty-dirs").short(b'm').off(&["no-prune-empty-dirs", "no-m"]).switch(set!(prune_empty_dirs))
        .letter(|f| (f.o.prune_empty_dirs && f.we_send).into())
        .help(&[("", "prune empty directory chains from file-list")]),
    meta("numeric-ids").off(&["no-numeric-ids"]).switch(set!(numeric_ids))
        .words(|f| f.say(f.o.numeric_ids, "--numeric-ids"))
        .help(&[("", "don't map uid/gid values by user/group name")]),
    meta("usermap").text("STRING", |t, v| t.set_usermap(v.unwrap_or_default()))
        .words(|f| if f.we_send { f.say_value("--usermap", &f.o.usermap) })
        .help(&[("", "custom username mapping")]),
    meta("groupmap").text("STRING", |t, v| t.set_groupmap(v.unwrap_or_default()))
        .words(|f| if f.we_send { f.say_value("--groupmap", &f.o.groupmap) })
        .help(&[("", "custom groupname mapping")]),
    meta("chown").text("USER:GROUP", |t, v| t.set_chown(v.unwrap_or_default()))
        .help(&[("", "simple username/groupname mapping")]),
    wire("timeout").off(&["no-timeout"]).number("SECONDS", |t, v| t.timeout = v.unwrap_or(0))
        .words(|f| if f.o.timeout > 0 { f.words.push(bytes!["--timeout=", f.o.timeout]) })
        .help(&[("", "set I/O timeout in seconds")]),
    wire("contimeout").off(&["no-contimeout"]).number("SECONDS", |t, v| t.options.contimeout = v.unwrap_or(0))
        .help(&[("", "set daemon connection timeout in seconds")]),
    choice("ignore-times").short(b'I').switch(set!(ignore_times)).letter(|f| f.o.ignore_times.into())
        .help(&[("", "don't skip files that match size and time")]),
    choice("size-only").switch(set!(size_only)).words(|f| f.say(f.o.size_only && f.we_send, "--size-only"))
        .help(&[("", "skip files that match in size")]),
    choice("modify-window").short(b'@').number("NUM", |t, v| {
            t.options.modify_window = v.unwrap_or(0); t.options.modify_window_given = true; })
        .words(|f| if f.o.modify_window_given && f.we_send {
            f.words.push(bytes![if f.o.modify_window < 0 { "-@" } else { "--modify-window=" }, f.o.modify_window]);
        })
        .help(&[("", "set the accuracy for mod-time comparisons")]),
    writing("temp-dir").short(b'T').text("DIR", keep!(temp_dir))
        .words(|f| if f.we_send { f.say_split("--temp-dir", &f.o.temp_dir) })
        .help(&[("", "create temporary files in directory DIR")]),
    writing("fuzzy").short(b'y').off(&["no-fuzzy", "no-y"]).switch(count!(fuzzy))
        .letter(|f| if f.we_send { f.o.fuzzy.min(2) } else { 0 })
        .help(&[("", "find similar file for basis if no dest file")]),
    writing("compare-dest").text("DIR", alt_dest!(Compare))
        .help(&[("", "also compare destination files relative to DIR")]),
    writing("copy-dest").text("DIR", alt_dest!(Copy))
        .help(&[("", "... and include copies of unchanged files")]),
    writing("link-dest").text("DIR", alt_dest!(Link))
        .words(|f| if f.we_send {
            for (kind, dir) in &f.o.alt_dests { f.say_split(kind.option(), &Some(dir.clone())) }
        })
        .help(&[("", "hardlink to files in DIR when unchanged")]),
    wire("compress").short(b'z').off(&["no-compress", "no-z"])
        .switch(|t, on| if on { t.compress = t.compress.saturating_add(1) } else {
            t.compress = 0; t.options.compress_choice = None })
        .letter(|f| (f.o.compress == Compress::By(Method::Zlib)).into())
        .help(&[("", "compress file data during the transfer")]),
    wire("compress-choice").also(&["zc"]).text("STR", keep!(compress_choice))
        .words(|f| match f.o.compress {
            Compress::By(Method::Zlibx) => f.say(true, "--new-compress"),
            Compress::By(Method::Zlib) => f.say(f.o.compress_choice.is_some(), "--old-compress"),
            _ => f.say_value("--compress-choice", &f.o.compress_choice),
        })
        .help(&[("", "choose the compression algorithm (aka --zc)")]),
    wire("compress-level").also(&["zl"]).number("NUM", |t, v| t.options.compress_level = v)
        .words(|f| if f.o.compress != Compress::No {
            f.words.extend(f.o.compress_level.map(|level| bytes!["--compress-level=", level])) })
        .help(&[("", "explicitly set compression level (aka --zl)")]),
    wire("compress-threads").also(&["zt"]).number("NUM", |t, v| t.options.compress_threads = v)
        .help(&[("", "explicitly set compression threads (aka --zt)")]),
    wire("skip-compress").text("LIST", keep!(skip_compress))
        .words(|f| if !f.we_send { f.say_value("--skip-compress", &f.o.skip_compress) })
        .help(&[("", "skip compressing files with suffix in LIST")]),
    wire("old-compress").switch(|t, _| t.options.compress_choice = Some(b"zlib".to_vec())),
    wire("new-compress").switch(|t, _| t.options.compress_choice = Some(b"zlibx".to_vec())),
    choice("cvs-exclude").short(b'C').switch(set!(cvs_exclude)).letter(|f| f.o.cvs_exclude.into())
        .help(&[("", "auto-ignore files in the same way CVS does")]),
    choice("filter").short(b'f').text("RULE", filter!(Filter)).help(&[("", "add a file-filtering RULE")]),
    choice("").short(b'F').switch(|t, _| per_dir(t))
        .help(&[("-F", "same as --filter='dir-merge /.rsync-filter'"),
                (" ", "repeated: --filter='- .rsync-filter'")]),
    choice("exclude").text("PATTERN", filter!(Exclude)).help(&[("", "exclude files matching PATTERN")]),
    choice("exclude-from").text("FILE", filter!(ExcludeFrom))
        .help(&[("", "read exclude patterns from FILE")]),
    choice("include").text("PATTERN", filter!(Include))
        .help(&[("", "don't exclude files matching PATTERN")]),
    choice("include-from").text("FILE", filter!(IncludeFrom))
        .help(&[("", "read include patterns from FILE")]),
    choice("files-from").text("FILE", keep!(files_from))
        .words(|f| f.say_files_from()).help(&[("", "read list of source-file names from FILE")]),
    choice("from0").short(b'0').off(&["no-from0"]).switch(set!(from0))
        .help(&[("", "all *-from/filter files are delimited by 0s")]),
    far("old-args").off(&["no-old-args"])
        .switch(|t, on| t.old_args = Some(if on { t.old_args.unwrap_or(0).max(0).saturating_add(1) } else { 0 }))
        .help(&[("", "disable the modern argument-protection idiom")]),
    far("secluded-args").short(b's').also(&["protect-args"]).off(&["no-secluded-args", "no-protect-args", "no-s"])
        .switch(|t, on| t.secluded = Some(on)).letter(|f| f.secluded().into())
        .help(&[("", "use the protocol to safely send the arguments")]),
    wire("trust-sender").switch(set!(trust_sender)).help(&[("", "trust the remote sender's file list")]),
    far("copy-as").text("USER[:GROUP]", keep!(copy_as))
        .help(&[("", "specify user & optional group for the copy")]),
    wire("address").text("ADDRESS", keep!(address))
        .help(&[("", "bind address for outgoing socket to daemon")]),
    wire("port").number("PORT", |t, v| t.options.port = v.unwrap_or(0) as u16)
        .help(&[("", "specify double-colon alternate port number")]),
    wire("sockopts").text("OPTIONS", keep!(sockopts)).help(&[("", "specify custom TCP options")]),
    far("blocking-io").off(&["no-blocking-io"]).switch(|t, on| t.options.blocking_io = Some(on))
        .help(&[("", "use blocking I/O for the remote shell")]),
    voice("outbuf").text("N|L|B", |t, v| { t.outbuf = v.map(<[u8]>::to_vec); Ok(()) })
        .help(&[("", "set out buffering to None, Line, or Block")]),
    voice("stats").switch(set!(stats)).words(|f| f.say(f.o.stats && f.we_send, "--stats"))
        .help(&[("", "give some file-transfer stats")]),
    voice("8-bit-output").short(b'8').off(&["no-8-bit-output", "no-8"]).switch(set!(eight_bit_output))
        .help(&[("", "leave high-bit chars unescaped in output")]),
    voice("human-readable").short(b'h').off(&["no-human-readable", "no-h"]).switch(count!(human_readable))
        .help(&[("", "output numbers in a human-readable format")]),
    voice("progress").off(&["no-progress"]).switch(set!(progress))
        .help(&[("", "show progress during transfer")]),
    voice("").short(b'P').switch(|t, _| { t.options.partial = true; t.options.progress = true; })
        .help(&[("-P", "same as --partial --progress")]),
    voice("itemize-changes").short(b'i').off(&["no-itemize-changes", "no-i"]).switch(count!(itemize))
        .help(&[("", "output a change-summary for all updates")]),
    far("remote-option").short(b'M').text("OPT", |t, v| t.remote_option(v.unwrap_or_default()))
        .words(|f| f.say_remote_options()).help(&[("", "send OPTION to the remote side only")]),
    voice("out-format").also(&["log-format"]).text("FORMAT", keep!(out_format))
        .words(|f| f.say_log_format()).help(&[("", "output updates using the specified FORMAT")]),
    voice("log-file").text("FILE", keep!(log_file))
        .help(&[("", "log what we're doing to the specified FILE")]),
    voice("log-file-format").text("FMT", keep!(log_file_format))
        .help(&[("", "log updates using the specified FMT")]),
    wire("password-file").text("FILE", keep!(password_file))
        .help(&[("", "read daemon-access password from FILE")]),
    wire("early-input").text("FILE", keep!(early_input))
        .help(&[("", "use FILE for daemon's early exec input")]),
    voice("list-only").switch(set!(list_only_given)).words(|f| f.say(f.o.list_only_given, "--list-only"))
        .help(&[("", "list the files instead of copying them")]),
    wire("bwlimit").off(&["no-bwlimit"])
        .text("RATE", |t, v| match v { Some(rate) => t.set_bwlimit(rate), None => { t.bwlimit = 0; Ok(()) } })
        .words(|f| if f.o.bwlimit > 0 { f.words.push(bytes!["--bwlimit=", f.o.bwlimit / 1024]) })
        .help(&[("", "limit socket I/O bandwidth")]),
    wire("stop-after").also(&["time-limit"]).text("MINS", |t, v| t.set_stop_after(v.unwrap_or_default()))
        .help(&[("", "Stop rsync after MINS minutes have elapsed")]),
    wire("stop-at").text("y-m-dTh:m", |t, v| t.set_stop_at(v.unwrap_or_default()))
        .help(&[("", "Stop rsync at the specified point in time")]),
    writing("fsync").switch(set!(fsync)).words(|f| f.say(f.o.fsync && f.we_send, "--fsync"))
        .help(&[("", "fsync every written file")]),
    writing("write-batch").text("FILE", |t, v| { t.write_batch = 1; batch(t, v) })
        .help(&[("", "write a batched update to FILE")]),
    writing("only-write-batch").text("FILE", |t, v| { t.write_batch = -1; batch(t, v) })
        .words(|f| f.say(f.o.only_writes_batch() && f.we_send, "--only-write-batch=X"))
        .help(&[("", "like --write-batch but w/o updating dest")]),
    writing("read-batch").text("FILE", |t, v| { t.read_batch = true; batch(t, v) })
        .help(&[("", "read a batched update from FILE")]),
    wire("protocol").number("NUM", |t, v| t.protocol = v)
        .help(&[("", "force an older protocol version to be used")]),
    meta("iconv").off(&["no-iconv"]).text("CONVERT_SPEC", keep!(iconv))
        .words(|f| f.say_iconv()).help(&[("", "request charset conversion of filenames")]),
    wire("checksum-seed").number("NUM", |t, v| t.options.checksum_seed = v)
        .words(|f| f.words.extend(f.o.checksum_seed.map(|seed| bytes!["--checksum-seed=", seed])))
        .help(&[("", "set block/file checksum seed (advanced)")]),
    wire("ipv4").short(b'4').switch(|t, _| t.options.address_family = 4).help(&[("", "prefer IPv4")]),
    wire("ipv6").short(b'6').switch(|t, _| t.options.address_family = 6).help(&[("", "prefer IPv6")]),
    voice("version").short(b'V').switch(|t, _| t.version = t.version.saturating_add(1))
        .help(&[("", "print the version + other info and exit")]),
    voice("help").special(Special::Help).help(&[("--help, -h (*)", "show this help (* -h is help only on its own)")]),
    voice("help-ext").special(Special::HelpExt),
    choice("qsort").switch(set!(qsort)).words(|f| f.say(f.o.qsort, "--use-qsort")),
    inner("server").special(Special::Server),
    inner("sender").special(Special::Sender),
    daemon("config").special(Special::Daemon).value("FILE"),
    daemon("daemon").special(Special::Daemon),
    daemon("dparam").special(Special::Daemon).value("OVERRIDE"),
    daemon("detach").off(&["no-detach"]).special(Special::Daemon),
];

fn usable(option: &str, help: fn() -> Vec<u8>, list: Result<(), Unusable>) -> Done {
    match list {
        Ok(()) => Ok(()),
        Err(Unusable::Help) => Err(Stop::Print(help())),
        Err(Unusable::Unknown(word)) => {
            Err(Error::new(ExitCode::SYNTAX, bytes!["Unknown ", option, " item: \"", word, "\""]).into())
        }
    }
}

/// All `--chmod` texts make one.
fn add_chmod(options: &mut Options, text: &[u8]) -> Done {
    if Chmod::parse(text, 0).is_none() {
        return Err(wrong(bytes!["Invalid argument passed to --chmod (", text, ")"]).into());
    }
    match &mut options.chmod {
        Some(chmod) => chmod.extend(bytes![",", text]),
        none => *none = Some(text.to_vec()),
    }
    Ok(())
}

/// One kind at most, twenty directories at most. C: options.c set_dest_dir
fn alt_dest(typed: &mut Typed, kind: AltDest, dir: &[u8]) -> Done {
    let dirs = &mut typed.options.alt_dests;
    if let Some((other, _)) = dirs.first()
        && *other != kind
    {
        let line = bytes!["ERROR: the ", kind.option(), " option conflicts with the ", other.option(), " option"];
        return Err(wrong(line).into());
    }
    if dirs.len() >= 20 {
        return Err(wrong(bytes!["ERROR: at most 20 ", kind.option(), " args may be specified"]).into());
    }
    dirs.push((kind, dir.to_vec()));
    Ok(())
}

fn batch(typed: &mut Typed, name: Option<&[u8]>) -> Done {
    typed.batch_name = name.map(<[u8]>::to_vec);
    Ok(())
}

/// Only the first two `-F` mean anything.
fn per_dir(typed: &mut Typed) {
    typed.per_dir_filters = typed.per_dir_filters.saturating_add(1);
    if typed.per_dir_filters <= 2 {
        typed.options.add_filter(FilterArg::PerDir(typed.per_dir_filters));
    }
}
