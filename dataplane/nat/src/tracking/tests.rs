use super::*;
use proptest::prelude::*;

#[test]
fn window_scales() {
    assert_eq!(window_scale(&[2, 4, 5, 0xb4, 1, 3, 3, 7]), Some(7));
    assert_eq!(window_scale(&[3, 3, 200]), Some(14));
    for none in [&[][..], &[1, 1], &[0, 3, 3, 7], &[3, 3], &[2, 0, 3, 3, 7], &[2, 9, 3, 3, 7], &[8]] {
        assert_eq!(window_scale(none), None, "{none:?}");
    }
}

proptest! {
    #[test]
    fn any_segments_and_options_do(
        segments in proptest::collection::vec(
            (any::<bool>(), any::<[u32; 2]>(), any::<u8>(), any::<u16>(), 0..65_535_usize, any::<[u8; 6]>()), 0..50),
    ) {
        let mut track = Track::default();
        for (client, [sequence, acknowledgement], flags, window, payload, options) in segments {
            let from = if client { Side::Client } else { Side::Server };
            let tcp = Tcp { source: 1, destination: 2, sequence, acknowledgement, flags, window, header_len: 28, payload };
            track.observe(from, &tcp, &options, false);
            track.is_in_flight(from, sequence);
        }
    }
}
