//! `services`: the phone system's services, load and memory.

use std::fmt;

use serde::Serialize;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use super::{Trouble, channels::duration, disk::size, write_table};

/// Services, and the names that their processes have.
const SERVICES: &[(&str, &[&str])] = &[
    ("asterisk", &["asterisk"]),
    ("freeswitch", &["freeswitch"]),
    ("mariadb", &["mariadbd", "mysqld"]),
    ("web server", &["httpd", "apache2", "nginx", "php-fpm"]),
    ("fail2ban", &["fail2ban-server"]),
    ("demarc", &["demarc", "demarc-collect", "demarc-link", "demarc-session"]),
];

/// What runs, and how busy this machine is.
#[derive(Debug, Serialize)]
pub(super) struct Services {
    services: Vec<Service>,
    /// Over one, five and fifteen minutes.
    load: [f64; 3],
    processors: usize,
    memory_bytes: u64,
    memory_free_bytes: u64,
    up_seconds: u64,
}

#[derive(Debug, Serialize)]
struct Service {
    service: &'static str,
    processes: usize,
    /// How long the oldest has run; absent where none runs.
    seconds: Option<u64>,
    memory_bytes: u64,
}

pub(super) fn look() -> Result<Services, Trouble> {
    find().map_err(|error| Trouble::new(format!("this machine's processes cannot be looked at: {error}")))
}

fn find() -> Result<Services, sysinfo::Error> {
    let mut system = System::new()?;
    system.refresh_memory();
    system.refresh_processes_specifics(
        ProcessesToUpdate::All,
        true,
        ProcessRefreshKind::nothing().with_memory().without_tasks(),
    );
    let services = SERVICES.iter().map(|(service, names)| {
        let named = |name: &str| names.iter().any(|one| *one == name || name.starts_with(&format!("{one}:")));
        let running: Vec<_> =
            system.processes().values().filter(|one| one.name().to_str().is_some_and(named)).collect();
        Service {
            service,
            processes: running.len(),
            seconds: running.iter().map(|process| process.run_time()).max(),
            memory_bytes: running.iter().map(|process| process.memory()).sum(),
        }
    });
    let load = System::load_average()?;
    Ok(Services {
        services: services.collect(),
        load: [load.one, load.five, load.fifteen],
        processors: std::thread::available_parallelism().map_or(1, Into::into),
        memory_bytes: system.total_memory(),
        memory_free_bytes: system.available_memory(),
        up_seconds: System::uptime()?,
    })
}

impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.services.iter().map(|one| match one.seconds {
            Some(seconds) => {
                let (processes, memory) = (one.processes.to_string(), size(one.memory_bytes));
                vec![one.service.to_owned(), "running".to_owned(), duration(seconds), processes, memory]
            }
            None => vec![one.service.to_owned(), "not running".to_owned()],
        });
        write_table(f, &["service", "", "for", "processes", "memory"], rows, "")?;
        let [one, five, fifteen] = self.load;
        writeln!(f, "\nLoad: {one:.2} {five:.2} {fifteen:.2} on {} processors.", self.processors)?;
        writeln!(f, "Memory: {} of {} can be used.", size(self.memory_free_bytes), size(self.memory_bytes))?;
        writeln!(f, "This machine has been up for {} hours.", self.up_seconds / 3600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_seen() {
        let found = look().unwrap();
        assert!(found.memory_bytes > 0 && found.processors > 0);
        let shown = found.to_string();
        assert!(SERVICES.iter().all(|(service, _)| shown.contains(service)), "{shown}");
    }
}
