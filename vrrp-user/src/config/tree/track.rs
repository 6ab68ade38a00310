//! Tracked objects and sync groups.

use serde::{Serialize, Serializer};
use serde_json::json;

use crate::config::model::{InitFile, TrackFile};

impl Serialize for TrackFile {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { name, line: _, path, weight, reverse, init } = self;
        json!({
            "name": name,
            "path": path.display().to_string(),
            "init": init.map(|init| init.value),
            "overwrite": init.is_some_and(|InitFile { value: _, overwrite }| overwrite),
            "weight": weight,
            "reverse": reverse,
        })
        .serialize(to)
    }
}
