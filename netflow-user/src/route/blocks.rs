//! Many short arrays in one vector: what the nodes of a trie hold their children and values in.
//!
//! An array of 1 to 32 items stands in a block of the next size there is; freed blocks are taken again by
//! arrays of the same size.

/// Sizes of blocks: at most a third of one is unused.
const SIZES: [u32; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];

/// The arrays. Who has one knows its start and its length.
#[derive(Clone, Debug)]
pub(super) struct Blocks<T> {
    items: Vec<T>,
    free: [Vec<u32>; SIZES.len()],
}

impl<T: Copy + Default> Blocks<T> {
    pub(super) fn new() -> Self {
        Self { items: Vec::new(), free: Default::default() }
    }

    /// An item by its place: the start of an array plus an index in it.
    pub(super) fn item(&self, place: u32) -> &T {
        &self.items[place as usize]
    }

    /// The same, to be changed.
    pub(super) fn item_mut(&mut self, place: u32) -> &mut T {
        &mut self.items[place as usize]
    }

    /// Puts an item into the array of `length` items at `start`, before that with index `at`. Returns where the
    /// array now starts.
    pub(super) fn insert(&mut self, start: u32, length: u32, at: u32, item: T) -> u32 {
        let target = self.resized(start, length, length + 1);
        self.copy(start, at, target);
        self.copy(start + at, length - at, target + at + 1);
        self.items[(target + at) as usize] = item;
        if target != start && length > 0 {
            self.free[class(length)].push(start);
        }
        target
    }

    /// Takes the item with index `at` out of the array of `length` items at `start`. Returns where the array now
    /// starts.
    pub(super) fn remove(&mut self, start: u32, length: u32, at: u32) -> u32 {
        let target = if length == 1 { start } else { self.resized(start, length, length - 1) };
        self.copy(start, at, target);
        self.copy(start + at + 1, length - at - 1, target + at);
        if target != start || length == 1 {
            self.free[class(length)].push(start);
        }
        target
    }

    /// Octets of memory.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        let free: usize = self.free.iter().map(|list| list.capacity() * size_of::<u32>()).sum();
        self.items.capacity() * size_of::<T>() + free
    }

    /// Items in blocks that are not free.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        let free: usize = self.free.iter().zip(SIZES).map(|(list, size)| list.len() * size as usize).sum();
        self.items.len() - free
    }

    /// A block for another length: the same one where it fits.
    fn resized(&mut self, start: u32, old: u32, new: u32) -> u32 {
        if old > 0 && class(old) == class(new) {
            return start;
        }
        if let Some(free) = self.free[class(new)].pop() {
            return free;
        }
        let start = self.items.len();
        self.items.resize(start + SIZES[class(new)] as usize, T::default());
        // 2^32 items would be 64 GiB of nodes.
        start as u32
    }

    fn copy(&mut self, from: u32, length: u32, to: u32) {
        self.items.copy_within(from as usize..(from + length) as usize, to as usize);
    }
}

/// The place in [`SIZES`] of the smallest block for an array.
fn class(length: u32) -> usize {
    SIZES.partition_point(|size| *size < length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_grow_shrink_and_leave_one_another_alone() {
        let mut blocks = Blocks::new();
        let mut arrays: [(u32, Vec<u32>); 5] = Default::default();
        for step in 0..4000_u32 {
            let (start, items) = &mut arrays[(step % 5) as usize];
            let length = items.len() as u32;
            // Up to 32 items, then down to none, and again.
            if (step / 160) % 2 == 0 {
                let at = step * 7 % (length + 1);
                *start = blocks.insert(*start, length, at, step);
                items.insert(at as usize, step);
            } else {
                let at = step * 7 % length;
                *start = blocks.remove(*start, length, at);
                items.remove(at as usize);
            }
            for (start, items) in &arrays {
                let stored = (0..items.len() as u32).map(|at| *blocks.item(start + at));
                assert!(stored.eq(items.iter().copied()), "step {step}");
            }
        }
        // Freed blocks are used again.
        assert!(blocks.items.len() <= 5 * SIZES.iter().sum::<u32>() as usize);
    }
}
