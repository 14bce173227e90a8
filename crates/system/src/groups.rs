//! Control groups that limit memory (versions 1 and 2), by the files of `/proc`; other systems have none.

use std::path::{Component, Path, PathBuf};

/// The smallest memory limit in bytes of the groups that this process is in; `None` where there is none.
pub fn memory_limit() -> Option<u64> {
    smallest_limit(Path::new("/"))
}

/// What version 1 shows for "no limit" is the largest multiple of a page; no machine has this much.
const UNLIMITED: u64 = 1 << 60;

/// A mounted hierarchy of control groups that may limit memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    mount: PathBuf,
    /// This process's group, below `mount`.
    group: PathBuf,
    /// 1 or 2.
    pub version: u8,
    /// The file of a group with its limit in bytes.
    pub file: &'static str,
}

/// Hierarchies of this process that may limit memory, as they are mounted.
pub fn hierarchies() -> Vec<Hierarchy> {
    hierarchies_below(Path::new("/"))
}

/// The smallest limit that the files below `root` tell of.
fn smallest_limit(root: &Path) -> Option<u64> {
    hierarchies_below(root).iter().filter_map(Hierarchy::limit).min()
}

pub(crate) fn hierarchies_below(root: &Path) -> Vec<Hierarchy> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    mounts.lines().filter_map(|line| hierarchy(root, line, &groups)).collect()
}

impl Hierarchy {
    /// The folder of this process's group.
    pub fn folder(&self) -> PathBuf {
        self.mount.join(&self.group)
    }

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
    let (version, file, own) = match (kind.next()?, kind.nth(1)?) {
        ("cgroup2", _) => (2, "memory.max", group_of(groups, "")?),
        ("cgroup", options) if options.split(',').any(|o| o == "memory") => {
            (1, "memory.limit_in_bytes", group_of(groups, "memory")?)
        }
        _ => return None,
    };
    // Without a namespace of its own a container sees the path on its host, of which it has only a part mounted.
    let group = Path::new(own).strip_prefix(top).unwrap_or(Path::new(""));
    // A group outside the namespace is shown with `..`; nothing of it can be seen here.
    let outside = group.components().any(|c| c == Component::ParentDir);
    let group = if outside { Path::new("") } else { group };
    let mount = root.join(mount.trim_start_matches('/'));
    Some(Hierarchy { mount, group: group.to_owned(), version, file })
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
        check(
            &[(groups, "0::/../../b.scope\n"), (mounts, V2), ("sys/fs/cgroup/memory.max", "4096")],
            Some(4096),
        );
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
}
