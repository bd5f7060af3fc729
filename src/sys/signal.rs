//! Signals become state that the program looks at: a flag, and a bell that ends whatever wait is going on.

use std::{
    io, mem, ptr,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::poll::{Wake, fire_raw};

/// The first of INT, TERM, HUP, USR1 and an alarm to arrive; 0: none.
static RECEIVED: AtomicI32 = AtomicI32::new(0);
/// The bell's descriptor; -1: none.
static BELL: AtomicI32 = AtomicI32::new(-1);
static PROGRESS: AtomicBool = AtomicBool::new(false);

/// What asks us to stop. USR1 is how processes of the reference end each other.
const INTERRUPTS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1];

/// From now on INT, TERM, HUP and USR1 are noted and fire `wake`, VTALRM is noted for [`progress_wanted`], PIPE and XFSZ are
/// ignored (writes fail instead). System calls that are waiting return `EINTR`. Should whoever started us have blocked these
/// signals, they are let through in this thread and those it starts.
///
/// The bell is kept open for the rest of the process, since a handler may ring it at any time.
pub fn install(wake: &Wake) -> io::Result<()> {
    let kept = std::mem::ManuallyDrop::new(wake.clone());
    BELL.store(kept.raw(), Ordering::SeqCst);
    for signal in INTERRUPTS {
        set(signal, SigHandler::Handler(on_interrupt))?;
    }
    set(Signal::SIGVTALRM, SigHandler::Handler(on_progress))?;
    set(Signal::SIGPIPE, SigHandler::SigIgn)?;
    set(Signal::SIGXFSZ, SigHandler::SigIgn)?;
    let mut noted: SigSet = INTERRUPTS.into_iter().collect();
    noted.add(Signal::SIGVTALRM);
    Ok(noted.thread_unblock()?)
}

/// Stops us at a moment as an interruption would: with ALRM, once the clock on the wall says so. After `install`.
pub fn alarm_at(moment: SystemTime) -> io::Result<()> {
    set(Signal::SIGALRM, SigHandler::Handler(on_interrupt))?;
    SigSet::from(Signal::SIGALRM).thread_unblock()?;
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    // SAFETY: both structures are plain numbers, for which zeros are valid.
    let (mut event, mut when): (libc::sigevent, libc::itimerspec) = unsafe { (mem::zeroed(), mem::zeroed()) };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGALRM;
    when.it_value.tv_sec = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    when.it_value.tv_nsec = i64::from(since.subsec_nanos()).max(1); // all zeros would mean never
    let mut timer: libc::timer_t = ptr::null_mut();
    // SAFETY: the pointers lead to structures of ours that outlive the calls, and the second call has the first's timer.
    let done = unsafe {
        match libc::timer_create(libc::CLOCK_REALTIME, &mut event, &mut timer) {
            0 => libc::timer_settime(timer, libc::TIMER_ABSTIME, &when, ptr::null_mut()),
            failed => failed,
        }
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The signal that asked us to stop, if one did.
pub fn received() -> Option<i32> {
    Some(RECEIVED.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
}

/// Whether a progress line was asked for (SIGVTALRM) since the last call.
pub fn progress_wanted() -> bool {
    PROGRESS.load(Ordering::Relaxed) && PROGRESS.swap(false, Ordering::Relaxed)
}

fn set(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handlers only touch atomics and call `write`, and leave errno as it was.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

extern "C" fn on_interrupt(signal: libc::c_int) {
    let errno = nix::errno::Errno::last_raw();
    let _ = RECEIVED.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    let bell = BELL.load(Ordering::SeqCst);
    if bell >= 0 {
        fire_raw(bell);
    }
    nix::errno::Errno::set_raw(errno);
}

extern "C" fn on_progress(_: libc::c_int) {
    PROGRESS.store(true, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sys::{
        pipe,
        poll::{Interest, Ready, wait},
    };

    /// Handlers are the whole process's, so this is tried in a process of its own.
    #[test]
    fn a_signal_is_noted_and_ends_a_wait() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "sys::signal::tests::in_own_process"]);
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    #[ignore = "run by the test above"]
    fn in_own_process() {
        let wake = Wake::new().unwrap();
        SigSet::all().thread_block().unwrap();
        install(&wake).unwrap();
        assert!(!progress_wanted());
        nix::sys::signal::raise(Signal::SIGVTALRM).unwrap();
        assert!(progress_wanted());
        assert!(!progress_wanted());
        let (read, _write) = pipe::pipe().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                nix::sys::signal::kill(nix::unistd::Pid::this(), Signal::SIGHUP).unwrap();
            });
            let limit = Some(Instant::now() + Duration::from_secs(20));
            assert_eq!(wait(&read, Interest::Read, Some(&wake), limit).unwrap(), Ready::Woken);
        });
        assert_eq!(received(), Some(libc::SIGHUP));
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        assert_eq!(received(), Some(libc::SIGHUP), "the first one stays");
        for moment in [SystemTime::now() + Duration::from_millis(20), UNIX_EPOCH] {
            RECEIVED.store(0, Ordering::SeqCst);
            wake.reset();
            alarm_at(moment).unwrap();
            let limit = Some(Instant::now() + Duration::from_secs(20));
            assert_eq!(wait(&read, Interest::Read, Some(&wake), limit).unwrap(), Ready::Woken);
            assert_eq!(received(), Some(libc::SIGALRM));
        }
    }
}
