//! placeholder
use super::draft::Draft;
use super::report::Report;
use std::io;
use std::path::Path;
pub(super) fn read(_path: &Path, _report: &mut Report) -> io::Result<Vec<Draft>> {
    Ok(Vec::new())
}
