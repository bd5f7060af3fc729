//! The options of `--daemon`: a smaller table, by which the whole line is read again.

use super::{Flag, Group, Special};

const fn row(long: &'static str) -> Flag {
    Flag::new(Group::Daemon, long)
}

/// In the order of `--daemon --help`; rows without help lines are known but not shown. C: options.c long_daemon_options
#[rustfmt::skip]
pub static DAEMON_FLAGS: &[Flag] = &[
    row("daemon").switch(|t, _| t.daemon = true).help(&[("", "run as an rsync daemon")]),
    row("address").text("ADDRESS", |t, v| { t.options.address = v.map(<[u8]>::to_vec); Ok(()) })
        .help(&[("", "bind to the specified address")]),
    row("bwlimit").number("RATE", |t, v| t.bwlimit = v.unwrap_or(0).max(0).unsigned_abs().into())
        .help(&[("", "limit socket I/O bandwidth")]),
    row("config").text("FILE", |t, v| { t.options.config = v.map(<[u8]>::to_vec); Ok(()) })
        .help(&[("", "specify alternate rsyncd.conf file")]),
    row("dparam").short(b'M').text("OVERRIDE", |t, v| t.dparam(v.unwrap_or_default()))
        .help(&[("", "override global daemon config parameter")]),
    row("detach").off(&["no-detach"]).switch(|t, on| t.options.no_detach = !on)
        .help(&[("--no-detach", "do not detach from the parent")]),
    row("port").number("PORT", |t, v| t.options.port = v.unwrap_or(0) as u16)
        .help(&[("", "listen on alternate port number")]),
    row("log-file").text("FILE", |t, v| { t.options.log_file = v.map(<[u8]>::to_vec); Ok(()) })
        .help(&[("", "override the \"log file\" setting")]),
    row("log-file-format").text("FMT", |t, v| { t.options.log_file_format = v.map(<[u8]>::to_vec); Ok(()) })
        .help(&[("", "override the \"log format\" setting")]),
    row("sockopts").text("OPTIONS", |t, v| { t.options.sockopts = v.map(<[u8]>::to_vec); Ok(()) })
        .help(&[("", "specify custom TCP options")]),
    row("verbose").short(b'v').off(&["no-verbose", "no-v"])
        .switch(|t, on| t.options.verbose = if on { t.options.verbose.saturating_add(1) } else { 0 })
        .help(&[("", "increase verbosity")]),
    row("ipv4").short(b'4').switch(|t, _| t.options.address_family = 4).help(&[("", "prefer IPv4")]),
    row("ipv6").short(b'6').switch(|t, _| t.options.address_family = 6).help(&[("", "prefer IPv6")]),
    row("protocol").number("NUM", |t, v| t.protocol = v),
    row("server").switch(|t, _| t.server = true),
    row("temp-dir").short(b'T').text("DIR", |t, v| { t.options.temp_dir = v.map(<[u8]>::to_vec); Ok(()) }),
    row("help").short(b'h').special(Special::Help).help(&[("", "show this help (when used with --daemon)")]),
];
