//! A clock that a test can turn: a small library, loaded before the program's own, adds an offset to the time of day.
//!
//! The offset lies in a shared page that each process maps when it starts, before it confines itself.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use crate::{process, programs, site::Site};

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;
static int (*next_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DEMARC_TESTS_CLOCK");
    next_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
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

/// The clock of one site.
pub struct Clock {
    page: File,
    path: PathBuf,
}

impl Clock {
    /// Gives every program that this site starts from now on a clock of its own, right for the moment.
    pub fn of(site: &mut Site) -> Self {
        let path = site.path("clock");
        fs::write(&path, 0i64.to_ne_bytes()).unwrap();
        let clock = Self { page: File::options().write(true).open(&path).unwrap(), path };
        site.set_env("LD_PRELOAD", library().to_str().unwrap());
        site.set_env("DEMARC_TESTS_CLOCK", clock.path.to_str().unwrap());
        clock
    }

    /// Sets it to so many seconds after (or before) the true time.
    pub fn set(&self, seconds: i64) {
        self.page.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// Compiles the library once in a run.
fn library() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let directory = programs::target_dir().join("tests-clock");
        fs::create_dir_all(&directory).unwrap();
        let source = directory.join("clock.c");
        let mut file = File::create(&source).unwrap();
        file.write_all(SOURCE.as_bytes()).unwrap();
        let (fresh, path) = (directory.join(format!("clock-{}.so", std::process::id())), directory.join("clock.so"));
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&fresh).arg(&source).arg("-ldl");
        process::run(&mut compiler, Duration::from_secs(60)).ok();
        fs::rename(fresh, &path).unwrap();
        path
    })
}
