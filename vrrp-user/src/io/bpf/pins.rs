//! The pins of the maps, which others read, and which somebody may delete. The daemon itself needs none of them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapInfo};
use nix::mount::{MsFlags, mount};

use super::{Error, PINNED, errno, on_bpffs};

/// The pinned maps of a daemon.
pub struct Pins {
    dir: PathBuf,
    maps: Vec<Pin>,
    /// The directory when everything was there.
    intact: Option<Directory>,
}

struct Pin {
    name: &'static str,
    id: u32,
    map: MapData,
}

/// What changes when something in a directory is deleted (`simple_unlink`, fs/libfs.c), or the directory is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directory {
    identity: (u64, u64),
    changed: (i64, i64),
}

impl Directory {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self { identity: (meta.dev(), meta.ino()), changed: (meta.ctime(), meta.ctime_nsec()) })
    }
}

impl Pins {
    /// The maps that have just been pinned in a directory.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let maps = PINNED.into_iter().map(|name| {
            let map = MapData::from_pin(dir.join(name)).map_err(Error::map(name))?;
            let id = map.info().map_err(Error::map(name))?.id();
            Ok(Pin { name, id, map })
        });
        Ok(Self { dir: dir.to_owned(), maps: maps.collect::<Result<_, Error>>()?, intact: None })
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether nothing has happened since all of them were there: one system call.
    pub fn untouched(&self) -> bool {
        self.intact.is_some() && self.intact == Directory::of(&self.dir).ok()
    }

    /// Makes those again that are missing, or something else than they were; also the directory, and the mount of the
    /// bpffs if that is permitted. How many it were.
    ///
    /// # Errors
    ///
    /// [`Error::BpffsGone`], [`Error::Pins`], [`Error::Map`].
    pub fn mend(&mut self) -> Result<usize, Error> {
        self.intact = None;
        self.mount_again()?;
        fs::create_dir_all(&self.dir).map_err(Error::pins(&self.dir))?;
        let before = Directory::of(&self.dir).map_err(Error::pins(&self.dir))?;
        let mut mended = 0;
        for Pin { name, id, map } in &self.maps {
            let path = self.dir.join(name);
            match MapInfo::from_pin(&path) {
                Ok(found) if found.id() == *id => continue,
                Err(error) if errno(&error) == Some(libc::ENOENT) => {}
                Ok(_) | Err(_) => fs::remove_file(&path).map_err(Error::pins(&path))?,
            }
            map.pin(&path).map_err(|error| Error::Pins {
                path: path.clone(),
                source: io::Error::from_raw_os_error(errno(&error).unwrap_or(libc::EIO)),
            })?;
            mended += 1;
        }
        // What is deleted within a tick of what was made shows no other time.
        self.intact = (mended == 0).then_some(before);
        Ok(mended)
    }

    /// Mounts a bpffs where there was one, if there is none any more.
    fn mount_again(&self) -> Result<(), Error> {
        // Below it is a directory of ours, and in that the one of the instance.
        let mut above = self.dir.ancestors().skip(1);
        let (Some(ours), Some(bpffs)) = (above.next(), above.next()) else { return Ok(()) };
        if on_bpffs(ours) || on_bpffs(bpffs) {
            return Ok(());
        }
        mount(Some("bpf"), bpffs, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .map_err(|errno| Error::BpffsGone { dir: bpffs.to_owned(), source: errno.into() })
    }
}
