//! What the unit hides and the settings want read: `demarc setup` shows it to the service, and says what it leaves to the owner.

use std::{fs, io::Write};

use demarc_tests::{
    cdr::{Caller, Layout},
    machine::free_port,
    wait,
};

use super::{LIMIT, service};

const RECORDS: &str = "/srv/pbx/cdr/Master.csv";
const DROP_IN: &str = "/etc/systemd/system/demarc.service.d/paths.conf";
const ANSWERS: &str = "/root/answers.toml";

#[test]
fn setup_shows_the_service_call_records_that_its_unit_hides() {
    let machine = service::installed();
    machine.write(RECORDS, "");
    machine.write("/srv/mixed/Master.csv", "");
    machine.write("/srv/mixed/monitor/a.wav", "RIFF");
    let answers = |sources: &[&str], updates: bool| {
        let source = |path: &&str| format!("[[sources]]\ntype = \"asterisk-csv\"\npath = {path:?}\n");
        let sources: String = sources.iter().map(source).collect();
        format!(
            "stats = true\nhealth = false\nsupport = false\nupdates = {updates}\ntoken = \"none\"\n\
             trunks = [\"provider1\"]\n{sources}"
        )
    };
    machine.write(ANSWERS, &answers(&[RECORDS, "/srv/mixed/Master.csv"], false));
    let setup = |more: &[&str]| {
        let words = [&["demarc", "setup", "--answers", ANSWERS], more].concat();
        machine.run(&words)
    };
    let dry = setup(&["--dry-run"]).ok();
    assert!(dry.contains(DROP_IN) && dry.contains("BindReadOnlyPaths=-/srv/pbx/cdr"), "{dry}");
    assert!(!machine.path(DROP_IN).exists());
    let done = setup(&[]).ok();
    assert!(done.contains(&format!("Written: {DROP_IN}")), "{done}");
    // Beside recordings nothing is shown, and the owner is told how it would be.
    let drop_in = fs::read_to_string(machine.path(DROP_IN)).unwrap();
    assert!(drop_in.contains("\nBindReadOnlyPaths=-/srv/pbx/cdr\n") && !drop_in.contains("mixed"), "{drop_in}");
    assert!(done.contains("systemctl edit demarc") && done.contains("BindReadOnlyPaths=-/srv/mixed"), "{done}");
    let row = Caller::new(1).inbound_answered(wait::now() as i64 - 60, 5, 30).line(Layout::ALL[0]);
    fs::File::options().append(true).open(machine.path(RECORDS)).unwrap().write_all(&row).unwrap();
    let counted = || machine.run(&["demarc", "report", "--by", "direction", "--json"]).json()["calls"] == 1;
    wait::until_true(LIMIT, "a call of records that the unit hid", counted);

    // A program that is to be told of alerts, and packages through the tunnel: both want more than the running daemon has.
    machine.write("/opt/alarm/tell", "#!/bin/sh\n");
    machine.shell("chmod 755 /opt/alarm/tell").ok();
    machine.shell("sed -i '/^\\[health\\]/a alert_command = \"/opt/alarm/tell\"' /etc/demarc/demarc.toml").ok();
    // Machines of other tests share the addresses of this one.
    let listen = format!("127.0.0.1:{}", free_port());
    machine.shell(&format!("sed -i '/^\\[updates\\]/a listen = \"{listen}\"' /etc/demarc/demarc.toml")).ok();
    machine.write(ANSWERS, &answers(&[], true));
    let main = service::property(&machine, "MainPID");
    let done = setup(&[]).ok();
    assert!(done.contains("demarc was restarted"), "{done}");
    assert_ne!(service::property(&machine, "MainPID"), main);
    let status = machine.run(&["demarc", "status", "--json"]).json()["daemon"].clone();
    assert_eq!(status["updates"]["address"], listen, "{status}");
    assert_eq!(status["waits"], serde_json::json!([]), "nothing that a restart would mend");
    let main = service::property(&machine, "MainPID");
    machine.shell(&format!("test -x /proc/{main}/root/opt/alarm/tell && ! test -e /proc/{main}/root/srv/mixed")).ok();
    machine.run(&["apt-get", "-qq", "-y", "purge", "demarc"]).ok();
    assert!(!machine.path(DROP_IN).exists());
}
