//! What each end may send, as seen from between them (van Rooij 2001, as netfilter does it). Numbers are those of the server's
//! side and compare modulo 2^32.

use crate::Reason;

/// Acknowledgements may be this old even if windows are smaller: whoever is behind repeats them. A client that is owed 128 KiB
/// by a connection that came back from the stack is so far behind, while its server fills the window that the stack gave it.
const OLDEST_ACKNOWLEDGEMENT: u32 = 1 << 19;

pub(crate) fn at_most(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) >= 0
}

pub(crate) fn later(a: u32, b: u32) -> u32 {
    if at_most(a, b) {
        b
    } else {
        a
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Behind the last byte that it sent.
    pub end: u32,
    /// Behind the last byte that its peer has allowed it to send.
    pub limit: u32,
    /// The largest window that it opened for its peer, in bytes.
    pub window: u32,
    /// The highest number of its peer's that it acknowledged.
    pub acknowledged: u32,
}

/// A segment as far as windows are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) sequence: u32,
    /// Bytes, SYN and FIN included.
    pub(crate) length: u32,
    pub(crate) acknowledgement: Option<u32>,
    /// In bytes, scaled.
    pub(crate) window: u32,
    pub(crate) reset: bool,
}

/// Takes note of a segment, or says why it does not belong here. Retransmissions and probes of closed windows do. `loose`: what
/// came before may have gone another way, so only resets are judged.
pub(crate) fn admit(from: &mut Sender, to: &mut Sender, span: &Span, loose: bool) -> Result<(), Reason> {
    let end = span.sequence.wrapping_add(span.length);
    let oldest = from.end.wrapping_sub(to.window).wrapping_sub(1);
    let fits = at_most(span.sequence, from.limit) && at_most(oldest, end);
    if (!loose || span.reset) && !fits {
        return Err(Reason::Window);
    }
    if span.reset {
        // Its acknowledgement is often zero; whether the number is exact, its receiver judges (RFC 5961 3).
        return if at_most(to.acknowledged, span.sequence) { Ok(()) } else { Err(Reason::Window) };
    }
    if let Some(acknowledgement) = span.acknowledgement {
        let oldest = to.end.wrapping_sub(from.window.max(OLDEST_ACKNOWLEDGEMENT));
        if loose {
            to.end = later(to.end, acknowledgement);
        } else if !at_most(acknowledgement, to.end) || !at_most(oldest, acknowledgement) {
            return Err(Reason::Acknowledgement);
        }
        // A closed window is probed with one byte.
        let allowed = acknowledgement.wrapping_add(span.window.max(1));
        to.limit = later(to.limit, allowed);
        from.window = from.window.max(span.window);
        from.acknowledged = later(from.acknowledged, acknowledgement);
    }
    from.end = later(from.end, end);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(sequence: u32, length: u32, acknowledgement: u32, window: u32) -> Span {
        Span { sequence, length, acknowledgement: Some(acknowledgement), window, reset: false }
    }

    fn pair() -> (Sender, Sender) {
        let start = u32::MAX - 500;
        (
            Sender { end: start, limit: start.wrapping_add(1000), window: 2000, acknowledged: 9000 },
            Sender { end: 9000, limit: 11_000, window: 1000, acknowledged: start },
        )
    }

    #[test]
    fn a_window_is_used_up_and_opened_again() {
        let (mut client, mut server) = pair();
        let start = client.end;
        assert_eq!(admit(&mut client, &mut server, &data(start, 1000, 9000, 2000), false), Ok(()));
        assert_eq!(client.end, start.wrapping_add(1000), "past the end of the numbers");
        let beyond = data(start.wrapping_add(1001), 10, 9000, 2000);
        assert_eq!(admit(&mut client, &mut server, &beyond, false), Err(Reason::Window));
        assert_eq!(admit(&mut server, &mut client, &data(9000, 0, start.wrapping_add(1000), 1000), false), Ok(()));
        assert_eq!(admit(&mut client, &mut server, &beyond, false), Ok(()));
    }

    #[test]
    fn retransmissions_and_probes_pass_and_what_is_older_does_not() {
        let (mut client, mut server) = pair();
        let start = client.end;
        for step in 0..5 {
            let at = start.wrapping_add(step * 1000);
            assert_eq!(admit(&mut client, &mut server, &data(at, 1000, 9000, 2000), false), Ok(()));
            let acknowledgement = data(9000, 0, at.wrapping_add(1000), if step == 4 { 0 } else { 1000 });
            assert_eq!(admit(&mut server, &mut client, &acknowledgement, false), Ok(()));
        }
        let end = start.wrapping_add(5000);
        for good in [data(end.wrapping_sub(1000), 1000, 9000, 2000), data(end.wrapping_sub(1), 0, 9000, 2000)] {
            assert_eq!(admit(&mut client, &mut server, &good, false), Ok(()), "{good:?}");
        }
        assert_eq!(
            admit(&mut client, &mut server, &data(end, 1, 9000, 2000), false),
            Ok(()),
            "a probe of the closed window"
        );
        let old = data(end.wrapping_sub(4000), 100, 9000, 2000);
        assert_eq!(admit(&mut client, &mut server, &old, false), Err(Reason::Window));
    }

    #[test]
    fn who_is_owed_much_may_be_far_behind() {
        let (mut client, mut server) = pair();
        server.end = server.end.wrapping_add(300_000);
        let start = client.end;
        assert_eq!(admit(&mut client, &mut server, &data(start, 0, 9000, 2000), false), Ok(()));
    }

    #[test]
    fn nothing_is_acknowledged_that_was_not_sent() {
        let (mut client, mut server) = pair();
        let start = client.end;
        assert_eq!(admit(&mut client, &mut server, &data(start, 0, 9001, 2000), false), Err(Reason::Acknowledgement));
        let old = data(start, 0, 9000_u32.wrapping_sub(OLDEST_ACKNOWLEDGEMENT + 1), 2000);
        assert_eq!(admit(&mut client, &mut server, &old, false), Err(Reason::Acknowledgement));
        assert_eq!((client, server), pair(), "and nothing is noted of it");
    }

    #[test]
    fn while_a_connection_moves_what_went_another_way_is_believed_but_for_resets() {
        let (mut client, mut server) = pair();
        let start = client.end;
        let far = data(start.wrapping_add(500_000), 100, 900_000, 2000);
        assert_eq!(admit(&mut client, &mut server, &far, false), Err(Reason::Window));
        let reset = Span { reset: true, ..far };
        assert_eq!(admit(&mut client, &mut server, &reset, true), Err(Reason::Window));
        assert_eq!(admit(&mut client, &mut server, &far, true), Ok(()));
        assert_eq!((client.end, server.end), (start.wrapping_add(500_100), 900_000), "the server must have sent that");
        let next = data(900_000, 1000, start.wrapping_add(500_100), 1000);
        assert_eq!(admit(&mut server, &mut client, &next, false), Ok(()), "and both are known again");
    }

    #[test]
    fn resets_count_by_their_sequence_number_alone() {
        let (mut client, mut server) = pair();
        let reset = |sequence| Span { reset: true, ..data(sequence, 0, 1, 0) };
        let start = client.end;
        assert_eq!(admit(&mut client, &mut server, &reset(start), false), Ok(()));
        assert_eq!(admit(&mut client, &mut server, &reset(start.wrapping_add(1001)), false), Err(Reason::Window));
        assert_eq!(admit(&mut client, &mut server, &reset(start.wrapping_sub(1)), false), Err(Reason::Window));
        assert_eq!((client, server), pair());
    }
}
