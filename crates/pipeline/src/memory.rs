//! How much memory this process may take: what its user allows, else what its container does.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Most resident bytes that this process may hold: `asked`, else what [`limit_process`] was told, else the limit of its
/// container ([`container_memory`]). `None` where only the machine limits it.
pub fn memory_limit(asked: Option<u64>) -> Option<u64> {
    let told = Some(LIMIT.load(Ordering::Relaxed)).filter(|m| *m > 0);
    asked.or(told).or_else(container_memory)
}

/// What [`limit_process`] was told; 0 for nothing.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// Sets the most resident bytes of this process for all that asks with [`memory_room`] and [`ask_memory`]. Resident
/// memory is the process's as a whole, and so is the limit; [`Model`](crate::Model)s may have a smaller one.
pub fn limit_process(most: Option<u64>) {
    LIMIT.store(most.unwrap_or(0), Ordering::Relaxed);
}

/// What may be taken in addition to what the process holds, and the limit that it is the rest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes that may be taken.
    pub room: u64,
    /// Bytes that the process may hold in all: its limit, or the machine's memory.
    pub limit: u64,
}

impl Allowance {
    /// Of this process: what is left of its limit ([`memory_limit`]), or what the machine has available.
    pub fn of_process() -> Allowance {
        Allowance { room: memory_room().unwrap_or(u64::MAX), limit: limit_or_machine(None) }
    }

    /// What is left of `limit`, or of the machine's memory.
    pub(crate) fn of(room: u64, limit: Option<u64>) -> Allowance {
        Allowance { room, limit: limit_or_machine(limit) }
    }

    /// In MiB, what the process would hold with `bytes` more, and its limit: the figures that a user can act on.
    pub fn figures(&self, bytes: u64) -> [u64; 2] {
        [bytes.saturating_add(self.held()).div_ceil(1 << 20), self.limit >> 20]
    }

    /// Bytes of the limit that are taken, or left free.
    pub fn held(&self) -> u64 {
        self.limit.saturating_sub(self.room)
    }
}

fn limit_or_machine(limit: Option<u64>) -> u64 {
    limit.or_else(|| memory_limit(None)).or_else(ampoule_system::figures::total_memory).unwrap_or(u64::MAX)
}

/// Bytes that this process may take in addition to what it holds: what is left of its limit ([`memory_limit`]), or what the machine
/// has available. `None` where nothing is known.
pub fn memory_room() -> Option<u64> {
    match memory_limit(None) {
        Some(most) => {
            Some(most.saturating_sub(slack(most) + ampoule_system::figures::rss_bytes().unwrap_or(0)))
        }
        None => ampoule_system::figures::available_memory(),
    }
}

/// Why `bytes` cannot be taken beside what the process holds: what it would hold with them, and its limit, in MiB. `None`
/// where there is room.
pub fn shortage(bytes: u64) -> Option<[u64; 2]> {
    let allowed = Allowance::of_process();
    (bytes > allowed.room).then(|| allowed.figures(bytes))
}

/// Asks for `bytes` before they are taken for something that is made of a file; an error where there is no room.
pub fn ask_memory(file: &Path, what: &str, bytes: u64) -> crate::Result<()> {
    match shortage(bytes) {
        Some([needed_mib, limit_mib]) => {
            let what = format!("{}: {what}", file.display());
            Err(crate::Error::Memory { what, needed_mib, limit_mib })
        }
        None => Ok(()),
    }
}

/// Bytes that this process holds, with those that are left free of its `limit`.
pub fn held_bytes(limit: Option<u64>) -> u64 {
    ampoule_system::figures::rss_bytes().unwrap_or(0) + limit.map_or(0, slack)
}

/// Bytes of a limit that are left free for what no plan knows: pictures, tables, decoders' buffers and what the allocator
/// keeps.
pub(crate) fn slack(limit: u64) -> u64 {
    (8 << 20) + limit / 32
}

/// The smallest memory limit in bytes of the control groups (version 1 or 2) that this process is in, as container
/// engines, batch systems and systemd set it; `None` where there is none, and on systems without control groups.
pub fn container_memory() -> Option<u64> {
    smallest_limit(Path::new("/"))
}

/// What version 1 shows for "no limit" is the largest multiple of a page; no machine has this much.
const UNLIMITED: u64 = 1 << 60;

/// Folders of this process's control groups that may limit memory, and the name of the file with the limit.
struct Hierarchy {
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    /// This process's group, below `mount`.
    group: PathBuf,
    file: &'static str,
}

/// The smallest limit that the files below `root` tell of.
fn smallest_limit(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let (groups, mounts) = (read("proc/self/cgroup")?, read("proc/self/mountinfo")?);
    let all = mounts.lines().filter_map(|line| hierarchy(root, line, &groups));
    all.filter_map(|h| h.limit()).min()
}

impl Hierarchy {
    /// The smallest limit from the process's group up to the mounted one: each group is held to those above it.
    fn limit(&self) -> Option<u64> {
        let groups = self.group.ancestors().map(|g| self.mount.join(g));
        groups.filter_map(|g| limit_of(&g.join(self.file))).min()
    }
}

/// The limit in a file; `None` where it says that there is none, or is absent.
fn limit_of(file: &Path) -> Option<u64> {
    // Version 2 writes "max", which is no number.
    let bytes: u64 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes < UNLIMITED).then_some(bytes)
}

/// The hierarchy that a line of `mountinfo` mounts, where it is one that may limit memory.
fn hierarchy(root: &Path, line: &str, groups: &str) -> Option<Hierarchy> {
    // 35 24 0:30 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (top, mount) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (file, own) = match (kind.next()?, kind.nth(1)?) {
        ("cgroup2", _) => ("memory.max", group_of(groups, "")?),
        ("cgroup", options) if options.split(',').any(|o| o == "memory") => {
            ("memory.limit_in_bytes", group_of(groups, "memory")?)
        }
        _ => return None,
    };
    // Without a namespace of its own a container sees the path on its host, of which it has only a part mounted.
    let group = Path::new(own).strip_prefix(top).unwrap_or(Path::new(""));
    let mount = root.join(mount.trim_start_matches('/'));
    Some(Hierarchy { mount, group: group.to_owned(), file })
}

/// This process's group in the hierarchy of a controller; version 2 has no name.
fn group_of<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        // 4:cpu,memory:/user.slice
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|c| c == controller).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
    const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    /// A system of these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], limit: Option<u64>) {
        assert_eq!(smallest_limit(system(files).path()), limit);
    }

    #[test]
    fn version_2_takes_the_smallest_up_the_tree() {
        let [groups, mounts] = ["proc/self/cgroup", "proc/self/mountinfo"];
        let own = (groups, "0::/a.slice/b.scope\n");
        let group = |limits: [&'static str; 3]| {
            [
                own,
                (mounts, V2),
                ("sys/fs/cgroup/memory.max", limits[0]),
                ("sys/fs/cgroup/a.slice/memory.max", limits[1]),
                ("sys/fs/cgroup/a.slice/b.scope/memory.max", limits[2]),
            ]
        };
        check(&group(["max\n", "max\n", "1073741824\n"]), Some(1 << 30));
        check(&group(["max\n", "524288\n", "1073741824\n"]), Some(1 << 19));
        check(&group(["4096\n", "524288\n", "max\n"]), Some(1 << 12));
        check(&group(["max\n", "max\n", "max\n"]), None);
        // A container with a namespace of its own sees only itself, at the top.
        check(&[(groups, "0::/\n"), (mounts, V2), ("sys/fs/cgroup/memory.max", "4096")], Some(4096));
    }

    #[test]
    fn version_1_has_a_hierarchy_of_memory() {
        let groups =
            ("proc/self/cgroup", "9:name=systemd:/\n4:hugetlb,memory:/docker/c\n2:cpu:/other\n0::/\n");
        let mounts = ("proc/self/mountinfo", V1);
        let own = "sys/fs/cgroup/memory/docker/c/memory.limit_in_bytes";
        check(&[groups, mounts, (own, "1048576\n")], Some(1 << 20));
        check(&[groups, mounts, (own, "9223372036854771712\n")], None);
        let above = ("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "4096\n");
        check(&[groups, mounts, (own, "1048576\n"), above], Some(4096));
        // Other groups and controllers do not count.
        let other = ("sys/fs/cgroup/memory/other/memory.limit_in_bytes", "1\n");
        check(&[groups, mounts, other, ("sys/fs/cgroup/cpu/docker/c/memory.limit_in_bytes", "1")], None);
    }

    #[test]
    fn a_part_of_the_hosts_tree_is_found() {
        let mounts = V1.replace("0:32 / ", "0:32 /docker/c ");
        let mounts = ("proc/self/mountinfo", mounts.as_str());
        let limit = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8192");
        check(&[("proc/self/cgroup", "4:memory:/docker/c\n"), mounts, limit], Some(8192));
        let inner = ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4096");
        check(&[("proc/self/cgroup", "4:memory:/docker/c/job\n"), mounts, limit, inner], Some(4096));
    }

    #[test]
    fn both_versions_may_be_mounted() {
        let mounts = V1.to_owned() + &V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ");
        let files = [
            ("proc/self/cgroup", "4:memory:/x\n0::/y\n"),
            ("proc/self/mountinfo", mounts.as_str()),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "8192"),
            ("sys/fs/cgroup/unified/y/memory.max", "4096"),
        ];
        check(&files, Some(4096));
        check(&files[..3], Some(8192));
    }

    #[test]
    fn systems_without_groups_have_no_limit() {
        check(&[], None);
        check(&[("proc/self/cgroup", ""), ("proc/self/mountinfo", "")], None);
        check(
            &[("proc/self/cgroup", "garbage"), ("proc/self/mountinfo", "garbage - \n1 2 3 - cgroup2")],
            None,
        );
    }

    #[test]
    fn what_is_asked_for_counts_first() {
        assert_eq!(memory_limit(Some(7)), Some(7));
    }
}
