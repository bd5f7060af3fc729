//! The lines of `--list-only`.

use crate::{
    bytes,
    flist::Entry,
    options::Options,
    text::{mode::permission_string, number::Style},
};

/// How wide a time is: `2024/02/29 12:34:56`.
const STAMP_WIDTH: usize = 19;

/// `-rw-r--r--          1,234 2024/02/29 12:34:56 name`, without a newline. C: generator.c list_file_entry
///
/// `stamp` shows seconds since the epoch in local time.
pub fn line(entry: Entry<'_>, options: &Options, stamp: &dyn Fn(i64) -> String) -> Vec<u8> {
    let size_width = if options.human_readable > 0 { 14 } else { 11 };
    let atimes = options.atimes > 0;
    if options.delete_missing_args && entry.mode() == 0 {
        let stamps = if atimes { 2 } else { 1 };
        let width = 10 + 1 + size_width + stamps * (1 + STAMP_WIDTH);
        return bytes![format_args!("{:<width$} ", "*missing"), entry.path()];
    }
    let size = Style::of_user(options.human_readable).integer(entry.size() as i64);
    let mut line =
        bytes![permission_string(entry.mode()), format_args!(" {size:>size_width$} "), stamp(entry.mtime().0),];
    if atimes {
        let atime = entry.atime().filter(|_| !entry.is_dir()).map_or_else(String::new, stamp);
        line.extend(bytes![format_args!("{atime:>width$}", width = 1 + STAMP_WIDTH)]);
    }
    line.push(b' ');
    line.extend(entry.path());
    if options.links && entry.is_symlink() {
        line.extend(bytes![" -> ", entry.link_target()]);
    }
    line
}
