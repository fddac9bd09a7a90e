//! A clock that a test can turn: a small library, loaded before the program's own, adds an offset to the time of day.
//!
//! The offset lies in a shared page that each process maps when it starts, before it confines itself. The roles start
//! with a clean environment, so the library is named in `/etc/ld.so.preload` of a mount namespace of their own.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{machine, process, site::Site};

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;
static int (*next_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    next_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int fd = open(PAGE, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    void *page = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) offset = page;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int answer = next_clock_gettime(id, now);
    if (answer == 0 && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
    return answer;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec fine;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &fine)) return -1;
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    if (now) *now = fine.tv_sec;
    return fine.tv_sec;
}
"#;

/// Puts the library's name where the loader looks, for this command and its children alone.
const NAMESPACE: &str = r#"
mount -t tmpfs tmpfs "$1" && mkdir "$1/upper" "$1/work" &&
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc &&
echo "$2" > /etc/ld.so.preload && shift 2 && exec "$@"
"#;

/// The clock of one site.
pub struct Clock {
    page: File,
    /// A directory of its own: what lies beside a library may be read by every role that has loaded it.
    _directory: TempDir,
}

impl Clock {
    /// Gives every program that this site starts from now on a clock of its own, right for the moment.
    pub fn of(site: &mut Site) -> Self {
        let directory = tempfile::Builder::new().prefix("demarc-clock-").tempdir().unwrap();
        let page = directory.path().join("page");
        fs::write(&page, 0i64.to_ne_bytes()).unwrap();
        let library = directory.path().join("clock.so");
        compile(&page, &library);
        let scratch = directory.path().join("mounts");
        fs::create_dir(&scratch).unwrap();
        let namespace = if machine::is_root() { "-m" } else { "-rm" };
        let words =
            ["unshare", namespace, "sh", "-c", NAMESPACE, "sh", scratch.to_str().unwrap(), library.to_str().unwrap()];
        site.wrap_in(&words);
        Self { page: File::options().write(true).open(&page).unwrap(), _directory: directory }
    }

    /// Sets it to so many seconds after (or before) the true time.
    pub fn set(&self, seconds: i64) {
        self.page.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

fn compile(page: &Path, library: &Path) {
    let source = library.with_extension("c");
    fs::write(&source, SOURCE).unwrap();
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-shared", "-fPIC", "-O1"]).arg(format!("-DPAGE={page:?}"));
    compiler.arg("-o").arg(library).arg(&source).arg("-ldl");
    process::run(&mut compiler, Duration::from_secs(60)).ok();
}
