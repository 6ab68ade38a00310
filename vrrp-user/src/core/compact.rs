//! Trees that take no more memory than they need.
//!
//! A B-tree that was filled in order, as an address of each of thousands of routers comes after the other, has nodes that
//! are half empty: what is built anew from all that is in it fills them.

/// Builds a map or a set anew.
pub fn compact<C>(collection: &mut C)
where
    C: Default + IntoIterator + FromIterator<C::Item>,
{
    *collection = std::mem::take(collection).into_iter().collect();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::compact;

    #[test]
    fn nothing_is_lost() {
        let all: BTreeMap<u32, u32> = (0..4_080).map(|n| (n, n + 1)).collect();
        let mut filled = BTreeMap::new();
        for (key, value) in &all {
            filled.insert(*key, *value);
        }
        compact(&mut filled);
        assert_eq!(filled, all);
    }
}
