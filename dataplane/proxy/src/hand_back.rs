//! A connection of the stack goes back to the data plane: both its sockets are frozen, and carried on from their records.

use braid_fastpath::{Park, Splice};
use braid_io::repair::{dissolve, freeze, start, unread, unsettled, FreezeError};
use braid_packet::TcpRecord;
use std::borrow::Cow;
use std::io;
use std::os::fd::BorrowedFd;

/// Bytes that the core takes over for each side, to send until they are acknowledged.
pub(crate) const MOST_RESIDUE: usize = 131_072;
/// The reason not to go back that passes by itself.
pub(crate) const TOO_MUCH: &str = "too_much_queued";

/// What the data plane does for a connection of a number of its own.
pub trait DataPlane {
    type Error;
    /// No packet of either side reaches the stack from now on. False if that cannot be.
    fn hold(&self, connection: u64) -> Result<bool, Self::Error>;
    /// As `hold`, for a connection that has no server.
    fn hold_alone(&self, connection: u64) -> Result<bool, Self::Error>;
    /// Its client's socket is frozen: carry it on until the client says more. As `splice`.
    fn park(&self, connection: u64, park: Park) -> Result<Result<(), Cow<'static, str>>, Self::Error>;
    /// Both sockets are frozen: carry them on. A word if that cannot be, and nothing has happened then.
    fn splice(&self, connection: u64, splice: Splice) -> Result<Result<(), Cow<'static, str>>, Self::Error>;
    /// The stack has it, and gets what was held.
    fn take(&self, connection: u64) -> Result<(), Self::Error>;
}

/// `splice` with the records of both sockets, which have no connection any more then. Where it cannot be, they go on, and the
/// reason is a word.
///
/// Nothing waits here but for the data plane to hold: whoever calls does nothing else with them meanwhile, so that each byte is
/// in a socket or in `to_client` and `to_server`. `until`: behind so many bytes that the server's socket has yet to give, the
/// client's next ones are a request of the stack's. `held`: the data plane holds the connection already.
pub fn give_back<P: DataPlane>(
    plane: &P,
    connection: u64,
    sockets: (BorrowedFd<'_>, BorrowedFd<'_>),
    (to_client, to_server): (&[u8], &[u8]),
    until: Option<u64>,
    held: bool,
) -> Result<Option<Cow<'static, str>>, P::Error> {
    let (client, server) = sockets;
    let under_way = |to, from, more: &[u8]| Ok::<_, io::Error>(unsettled(to)? + unread(from)? + more.len());
    let most = under_way(client, server, to_client).and_then(|one| Ok(one.max(under_way(server, client, to_server)?)));
    let too_much = match most {
        Ok(most) if most > MOST_RESIDUE => Some(TOO_MUCH.into()),
        Ok(_) => None,
        Err(error) => Some(FreezeError::from(error).0),
    };
    if !held && too_much.is_some() {
        return Ok(too_much);
    }
    if !held && !plane.hold(connection)? {
        return Ok(Some("not_held".into()));
    }
    let reason = match too_much.map_or_else(|| frozen(client, server), |reason| Err(FreezeError(reason))) {
        Err(FreezeError(reason)) => reason,
        Ok((of_client, of_server)) => {
            let until = until.map(|bytes| {
                let behind = bytes.saturating_sub(of_server.unread.len() as u64);
                u32::try_from(behind).unwrap_or(u32::MAX)
            });
            let (to_client, to_server) = (to_client.to_vec(), to_server.to_vec());
            let splice = Splice { client: of_client, server: of_server, to_client, to_server, until };
            let handed =
                if splice.owed() > MOST_RESIDUE { Err(TOO_MUCH.into()) } else { plane.splice(connection, splice)? };
            match handed {
                Ok(()) => {
                    leave(client);
                    leave(server);
                    return Ok(None);
                }
                Err(reason) => {
                    go_on(client);
                    go_on(server);
                    reason
                }
            }
        }
    };
    plane.take(connection)?;
    Ok(Some(reason))
}

/// `park` with the record of a client's socket, of a connection that has no server now; else as `give_back`.
pub(crate) fn park<P: DataPlane>(
    plane: &P,
    connection: u64,
    client: BorrowedFd<'_>,
    to_client: &[u8],
) -> Result<Option<Cow<'static, str>>, P::Error> {
    match unsettled(client).and_then(|count| Ok((count + to_client.len(), unread(client)?))) {
        Err(error) => return Ok(Some(FreezeError::from(error).0)),
        Ok((_, 1..)) => return Ok(Some("not_quiet".into())),
        Ok((owed, _)) if owed > MOST_RESIDUE => return Ok(Some(TOO_MUCH.into())),
        Ok(_) => {}
    }
    if !plane.hold_alone(connection)? {
        return Ok(Some("not_held".into()));
    }
    let reason = match freeze(client) {
        Err(FreezeError(reason)) => reason,
        Ok(record) => match plane.park(connection, Park { client: record, to_client: to_client.to_vec() })? {
            Ok(()) => {
                leave(client);
                return Ok(None);
            }
            Err(reason) => {
                go_on(client);
                reason
            }
        },
    };
    plane.take(connection)?;
    Ok(Some(reason))
}

/// The records of both, or neither is frozen.
fn frozen(client: BorrowedFd<'_>, server: BorrowedFd<'_>) -> Result<(TcpRecord, TcpRecord), FreezeError> {
    let of_client = freeze(client)?;
    let of_server = freeze(server).inspect_err(|_| go_on(client))?;
    // What came in between is acknowledged, and would be lost.
    let kept = (of_client.unread.len(), of_server.unread.len());
    if !matches!((unread(client), unread(server)), (Ok(one), Ok(other)) if (one, other) == kept) {
        go_on(client);
        go_on(server);
        return Err(FreezeError("not_quiet".into()));
    }
    Ok((of_client, of_server))
}

/// Closing it would not be enough: a process that is being started has all descriptors for a moment, and the data plane may
/// want the stack to have the connection again at once.
fn leave(frozen: BorrowedFd<'_>) {
    // What cannot be disconnected is closed without a word.
    let _ = dissolve(frozen);
}

fn go_on(frozen: BorrowedFd<'_>) {
    // A broken one says so to who reads it.
    let _ = start(frozen, &[]);
}
