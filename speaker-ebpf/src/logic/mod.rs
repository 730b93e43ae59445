//! What becomes of a frame.

use crate::abi::{
    Addr, AskerKey, AskerValue, Claim, Entry, Global, LinkValue, MacAddr, MemberValue, Outcome,
    VipKey,
};

/// The tables as the program sees them.
pub trait Maps {
    /// BOOTTIME nanoseconds.
    fn now(&self) -> u64;
    /// Whether `addr` may be in the table; `false` is certain.
    fn may_know(&self, addr: &Addr) -> bool;
    /// The entry of a VIP on a link.
    fn vip(&self, key: &VipKey) -> Option<Entry>;
    /// The node-wide deadline, 0 if never armed.
    fn deadline(&self) -> u64;
    /// Whether the slot's fence is up (`FENCE` differs from `CLEARED`).
    fn is_fenced(&self, slot: u32) -> bool;
    /// Raises the slot's fence; the new generation.
    fn fence(&mut self, slot: u32) -> u64;
    /// What answers on a link carry; `None`: the link does not announce.
    fn link(&self, ifindex: u32) -> Option<LinkValue>;
    /// The member that owns a hardware address.
    fn member(&self, mac: &MacAddr) -> Option<MemberValue>;
    /// Takes one token of the slot's bucket at `now`; `false`: above the limit.
    fn take_token(&mut self, slot: u32, now: u64) -> bool;
    /// Counts an outcome of a slot.
    fn bump(&mut self, slot: u32, outcome: Outcome);
    /// Counts what belongs to no slot.
    fn count(&mut self, global: Global);
    /// Counts a frame handed to the stack for a VIP.
    fn traffic(&mut self, slot: u32, bytes: u32);
    /// Remembers who asked.
    fn remember(&mut self, key: &AskerKey, value: &AskerValue);
    /// Tells the agent of a claim.
    fn claim(&mut self, claim: &Claim);
}

/// What the hook does with the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// On to the next program or the stack, untouched.
    Next,
    /// Gone.
    Drop,
    /// Rewritten in place: back out of the link it came in on.
    Reply,
}
