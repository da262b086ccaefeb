//! Longest-prefix match: a tree bitmap (Eatherton, Varghese, Dittia 2004) of 5 bits a level.
//!
//! In: prefixes with a number each. Out: the numbers of the prefixes that hold an address, longest first. A node
//! has 16 octets, four on a cache line: which prefixes end in it, which children it has, where both stand. An IPv4
//! address takes at most 7 steps, an IPv6 address of a global table 10.

use super::{blocks::Blocks, prefix::Prefix};

/// Bits of a level.
const STRIDE: u8 = 5;
/// Levels of a 128-bit prefix: 25 whole ones and that of the last 3 bits.
const LEVELS: usize = 26;

/// The children of five bits, and the prefixes of 0 to 4 of them.
#[derive(Clone, Copy, Default, Debug)]
struct Node {
    /// Bit `2^r - 1 + v`: the prefix that goes on with the r bits v ends here.
    ends: u32,
    /// Bit `v`: there is a child for the five bits v.
    goes_on: u32,
    /// Where the values of the former are, in the order of bits.
    values: u32,
    /// Where the children are.
    children: u32,
}

const _: () = assert!(size_of::<Node>() == 16);

/// For five bits: all places of `Node::ends` whose prefixes hold them.
const HOLDS: [u32; 32] = {
    let mut holds = [0; 32];
    let mut bits = 0;
    while bits < 32 {
        let mut length = 0;
        while length < STRIDE {
            holds[bits as usize] |= 1 << place(bits, length);
            length += 1;
        }
        bits += 1;
    }
    holds
};

/// Prefixes, each with a number.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    /// The first is the root.
    nodes: Blocks<Node>,
    values: Blocks<u32>,
}

impl Trie {
    pub(super) fn new() -> Self {
        let mut nodes = Blocks::new();
        nodes.insert(0, 0, 0, Node::default());
        Self { nodes, values: Blocks::new() }
    }

    /// Offers the prefixes that hold an address to `take`, the longest first, until it returns something.
    pub(super) fn find_map<T>(&self, address: u128, mut take: impl FnMut(u8, u32) -> Option<T>) -> Option<T> {
        let mut found = [(0, 0); LEVELS];
        let mut count = 0;
        let (mut at, mut level) = (0, 0);
        loop {
            let node = self.nodes.item(at);
            let bits = bits_of(address, level);
            if node.ends & HOLDS[bits as usize] != 0 {
                found[count] = (at, level);
                count += 1;
            }
            if node.goes_on & (1 << bits) == 0 {
                break;
            }
            at = node.children + rank(node.goes_on, bits);
            level += 1;
        }
        for (at, level) in found[..count].iter().rev() {
            let node = self.nodes.item(*at);
            let mut ends = node.ends & HOLDS[bits_of(address, *level) as usize];
            while ends != 0 {
                let place = ends.ilog2();
                let length = level * STRIDE + (place + 1).ilog2() as u8;
                let value = *self.values.item(node.values + rank(node.ends, place));
                if let Some(taken) = take(length, value) {
                    return Some(taken);
                }
                ends &= !(1 << place);
            }
        }
        None
    }

    /// The number of a prefix.
    pub(super) fn value(&self, prefix: Prefix) -> Option<u32> {
        let mut at = 0;
        for level in 0..prefix.length() / STRIDE {
            let node = self.nodes.item(at);
            let bits = bits_of(prefix.bits(), level);
            if node.goes_on & (1 << bits) == 0 {
                return None;
            }
            at = node.children + rank(node.goes_on, bits);
        }
        let node = self.nodes.item(at);
        let place = last_place(prefix);
        (node.ends & (1 << place) != 0).then(|| *self.values.item(node.values + rank(node.ends, place)))
    }

    /// Gives a prefix a number, a new one if it has one.
    pub(super) fn insert(&mut self, prefix: Prefix, value: u32) {
        let mut at = 0;
        for level in 0..prefix.length() / STRIDE {
            at = self.child(at, bits_of(prefix.bits(), level));
        }
        let place = last_place(prefix);
        let Node { ends, values, .. } = *self.nodes.item(at);
        let index = rank(ends, place);
        if ends & (1 << place) != 0 {
            *self.values.item_mut(values + index) = value;
            return;
        }
        let values = self.values.insert(values, ends.count_ones(), index, value);
        let node = self.nodes.item_mut(at);
        node.values = values;
        node.ends |= 1 << place;
    }

    /// Removes a prefix, and the nodes that only it needed.
    pub(super) fn remove(&mut self, prefix: Prefix) {
        let mut path = [0; LEVELS];
        let mut at = 0;
        let mut level = 0;
        while level < prefix.length() / STRIDE {
            let node = self.nodes.item(at);
            let bits = bits_of(prefix.bits(), level);
            if node.goes_on & (1 << bits) == 0 {
                return;
            }
            path[usize::from(level)] = at;
            at = node.children + rank(node.goes_on, bits);
            level += 1;
        }
        let place = last_place(prefix);
        let Node { ends, values, .. } = *self.nodes.item(at);
        if ends & (1 << place) == 0 {
            return;
        }
        let values = self.values.remove(values, ends.count_ones(), rank(ends, place));
        let node = self.nodes.item_mut(at);
        node.values = values;
        node.ends &= !(1 << place);
        while level > 0 && self.is_empty(at) {
            level -= 1;
            at = path[usize::from(level)];
            let bits = bits_of(prefix.bits(), level);
            let Node { goes_on, children, .. } = *self.nodes.item(at);
            let children = self.nodes.remove(children, goes_on.count_ones(), rank(goes_on, bits));
            let node = self.nodes.item_mut(at);
            node.children = children;
            node.goes_on &= !(1 << bits);
        }
    }

    /// Octets of memory.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.nodes.octets() + self.values.octets()
    }

    /// Whether no node was left behind.
    #[cfg(test)]
    pub(super) fn has_only_a_root(&self) -> bool {
        self.is_empty(0) && self.nodes.used() == 1 && self.values.used() == 0
    }

    fn is_empty(&self, at: u32) -> bool {
        let node = self.nodes.item(at);
        node.ends == 0 && node.goes_on == 0
    }

    /// The child of a node for five bits, made if there is none.
    fn child(&mut self, at: u32, bits: u32) -> u32 {
        let Node { goes_on, children, .. } = *self.nodes.item(at);
        let index = rank(goes_on, bits);
        if goes_on & (1 << bits) != 0 {
            return children + index;
        }
        let children = self.nodes.insert(children, goes_on.count_ones(), index, Node::default());
        let node = self.nodes.item_mut(at);
        node.children = children;
        node.goes_on |= 1 << bits;
        children + index
    }
}

/// The five bits of a level.
fn bits_of(address: u128, level: u8) -> u32 {
    ((address << (u32::from(level) * u32::from(STRIDE))) >> (128 - u32::from(STRIDE))) as u32
}

/// The place in `Node::ends` of the first `length` of five bits.
const fn place(bits: u32, length: u8) -> u32 {
    (1 << length) - 1 + (bits >> (STRIDE - length))
}

/// The place of a prefix in the node where it ends.
fn last_place(prefix: Prefix) -> u32 {
    place(bits_of(prefix.bits(), prefix.length() / STRIDE), prefix.length() % STRIDE)
}

/// How many bits below `bit` are set.
fn rank(bitmap: u32, bit: u32) -> u32 {
    (bitmap & ((1 << bit) - 1)).count_ones()
}
