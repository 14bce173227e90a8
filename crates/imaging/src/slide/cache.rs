//! Decoded tiles, the ones used last.

use std::collections::HashMap;
use std::sync::Arc;

/// Level, column and row.
type Key = (usize, [u64; 2]);

#[derive(Debug)]
pub(super) struct Cache {
    room: usize,
    used: usize,
    clock: u64,
    tiles: HashMap<Key, (Arc<Vec<u8>>, u64)>,
}

impl Cache {
    pub fn new(room: usize) -> Self {
        Cache { room, used: 0, clock: 0, tiles: HashMap::new() }
    }

    pub fn get(&mut self, key: &Key) -> Option<Arc<Vec<u8>>> {
        self.clock += 1;
        let (tile, used) = self.tiles.get_mut(key)?;
        *used = self.clock;
        Some(tile.clone())
    }

    pub fn put(&mut self, key: Key, tile: Arc<Vec<u8>>) {
        if tile.len() > self.room || self.tiles.contains_key(&key) {
            return;
        }
        self.used += tile.len();
        self.clock += 1;
        self.tiles.insert(key, (tile, self.clock));
        if self.used <= self.room {
            return;
        }
        // A quarter goes at once, so that the search pays.
        let mut ages: Vec<u64> = self.tiles.values().map(|t| t.1).collect();
        ages.sort_unstable();
        let oldest = ages[ages.len() / 4];
        self.tiles.retain(|_, (_, age)| *age > oldest);
        self.used = self.tiles.values().map(|t| t.0.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_the_room_is_kept() {
        let mut c = Cache::new(10);
        for i in 0..5 {
            c.put((0, [i, 0]), Arc::new(vec![0; 2]));
        }
        assert!(c.get(&(0, [0, 0])).is_some());
        c.put((0, [9, 0]), Arc::new(vec![0; 2]));
        assert!(c.used <= 10 && c.get(&(0, [0, 0])).is_some() && c.get(&(0, [1, 0])).is_none());
        c.put((1, [0, 0]), Arc::new(vec![0; 11]));
        assert!(c.get(&(1, [0, 0])).is_none());
    }
}
