/// A flow of the NAT's table: its place, and what tells it from earlier ones in that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    pub index: u32,
    pub serial: u32,
}
