//! Bridge membership (SIOCBRADDIF, SIOCBRDELIF: linux/sockios.h) in the namespace of the calling thread.

use super::check;
use std::ffi::CString;
use std::io::{Error, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const SIOCBRADDIF: libc::c_ulong = 0x89a2;
const SIOCBRDELIF: libc::c_ulong = 0x89a3;

/// Number of an interface; NotFound names the interface.
pub fn index(interface: &str) -> Result<i32, Error> {
    let missing = || Error::new(ErrorKind::NotFound, format!("there is no interface {interface}"));
    let name = CString::new(interface).map_err(|_| missing())?;
    // SAFETY: `name` is a NUL-terminated string that lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(missing()),
        number => i32::try_from(number).map_err(|_| missing()),
    }
}

pub fn join(bridge: &str, member: i32) -> Result<(), Error> {
    change(SIOCBRADDIF, bridge, member)
}

/// A member that is not in the bridge is no error.
pub fn leave(bridge: &str, member: i32) -> Result<(), Error> {
    match change(SIOCBRDELIF, bridge, member) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

fn change(request: libc::c_ulong, bridge: &str, member: i32) -> Result<(), Error> {
    // SAFETY: socket(2) takes no pointers; the result is checked before it becomes an owned descriptor.
    let socket = unsafe {
        let fd = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: an all-zero ifreq is a valid value of this plain C struct.
    let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
    if bridge.len() >= ifreq.ifr_name.len() {
        return Err(Error::new(ErrorKind::InvalidInput, "bridge name too long"));
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(bridge.bytes()) {
        *to = from as libc::c_char;
    }
    ifreq.ifr_ifru.ifru_ifindex = member;
    // SAFETY: `ifreq` is a valid ifreq with a NUL-terminated name and lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), request as _, &raw mut ifreq) })?;
    Ok(())
}
