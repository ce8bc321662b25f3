//! How a data thread shares its processor with whatever else runs there. `docs/decisions/0009`.

use crate::sys;

/// How much less nice than the rest of the node: what waits for a packet waits for more than what waits for a decision.
const PREFERRED: i32 = 5;
/// In nanoseconds, about as long as a turn under load. The kernel lets a thread that wants little overtake one that runs.
const SLICE: u64 = 100_000;

/// To be called once, in the data thread. What its rights do not allow or the kernel does not know stays as it was.
pub(crate) fn prefer() {
    let Ok(nice) = sys::nice() else { return };
    if sys::set_scheduling((nice - PREFERRED).max(-20), SLICE).is_err() {
        let _ = sys::set_scheduling(nice, SLICE);
    }
}

/// After a turn that had something to do: nodes and applications on the same processor take turns too, instead of each
/// filling the other's queues for as long as the kernel lets it.
pub(crate) fn give_way() {
    std::thread::yield_now();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_less_nice_in_its_own_thread_only() {
        let before = sys::nice().unwrap();
        let within = std::thread::spawn(|| {
            prefer();
            sys::nice().unwrap()
        });
        let within = within.join().unwrap();
        // Without the right to it nothing changes.
        assert!(within == before || within == (before - PREFERRED).max(-20), "{before} became {within}");
        assert_eq!(sys::nice().unwrap(), before);
    }
}
