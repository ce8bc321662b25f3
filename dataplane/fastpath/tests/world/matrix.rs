//! What ends may negotiate, each pair of it on links of each size: the same table for every way that a connection may go.

use super::setting::Setting;

/// Timestamps, SACK and window scaling, each on or off.
fn options(bits: u32, base: Setting) -> Setting {
    Setting {
        timestamps: bits & 1 == 0,
        sack: bits & 2 == 0,
        scale: (bits & 4 == 0).then_some(3 + (bits >> 3) as u8),
        ..base
    }
}

/// Client and server: all pairs of option sets, both IP versions, each size of packet at either end.
pub fn pairs(client: Setting, server: Setting) -> impl Iterator<Item = (Setting, Setting)> {
    (0..64_u32).flat_map(move |bits| {
        let sizes = [(1280, 1500), (1400, 1280), (1500, 1400), (1500, 1500)];
        [false, true].into_iter().flat_map(move |v6| {
            sizes.map(|(of_client, of_server)| {
                let client = options(bits & 7, Setting { v6, mtu: of_client, ..client });
                let server = options(bits >> 3, Setting { v6, mtu: of_server, ..server });
                (client, server)
            })
        })
    })
}
