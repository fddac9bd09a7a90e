//! Canaries: unmistakable values in every field of call records of every layout, and nowhere else afterwards.

use std::{fs, time::Duration};

use demarc_tests::{
    cdr::{Caller, Layout, Row},
    hub::{Hub, files_below},
    site::{LIMIT, Setup, Site},
    traces::Traces,
    traffic::wait_for_room_in_the_minute,
    wait,
};

const ONE_WINDOW: Duration = Duration::from_secs(120);

/// One value for each field that can hold text.
const CANARIES: [&str; 16] = [
    "Quetzalcoatlus",  // accountcode
    "86213597405318",  // src
    "70914268357926",  // dst
    "Wyvernmoorcourt", // dcontext
    "Xylophagidae",    // clid, the name
    "53196482073594",  // clid, the number
    "64839207516428",  // channel
    "97351862049736",  // dstchannel
    "Zwitterionic",    // lastapp
    "38627149506183",  // lastdata
    "Jabberwockyish",  // lastdata
    "Kwashiorkors",    // userfield
    "42957306814279",  // userfield
    "Ytterbiumtrunk",  // the trunk
    "Brachiosaurians", // peeraccount
    "29468135709246",  // a malformed row
];

fn marked(mut row: Row, trunk: bool) -> Row {
    let [
        account,
        src,
        dst,
        context,
        name,
        number,
        channel,
        dstchannel,
        app,
        data,
        argument,
        user,
        field,
        provider,
        peer,
        _,
    ] = CANARIES;
    row.accountcode = account.into();
    row.src = src.into();
    row.dst = dst.into();
    row.dcontext = context.into();
    row.clid = format!("\"{name}\" <{number}>");
    row.channel = if trunk { format!("PJSIP/{provider}-0000002a") } else { format!("PJSIP/{channel}-0000002a") };
    row.dstchannel = format!("PJSIP/{dstchannel}-0000002b");
    row.lastapp = if trunk { "Queue".into() } else { app.into() };
    row.lastdata = format!("{argument},{data},20");
    row.userfield = format!("{user} {field}");
    row.peeraccount = peer.into();
    row
}

#[test]
fn no_trace_of_a_call_record_anywhere_but_at_home() {
    let mut hub = Hub::start();
    let mut site = Site::new(&Setup::default());
    let text = site.read_config().replace("\"provider1\"", &format!("{:?}", CANARIES[13]));
    site.write_config(&text);
    // The agent says as much as it ever can.
    site.set_env("RUST_LOG", "trace");
    site.set_env("DEMARC_LOG", "trace");
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();

    wait_for_room_in_the_minute(20);
    let mut caller = Caller::new(3);
    let mut rows = 0;
    for layout in Layout::ALL {
        for n in 0..8 {
            let row = marked(caller.inbound_answered(wait::now() as i64, 5, 30), n % 2 == 0);
            site.feed(&row.line(layout));
            rows += 1;
        }
        site.feed(format!("\"{0}\",\"{0}\",{0}\n", CANARIES[15]).as_bytes());
    }
    let report = site.wait_for_calls(rows, "trunk,queue,extension", LIMIT);
    assert_eq!(report["malformed"], 5);
    // Locally the customer sees it all: the canaries did sing.
    let text = report.to_string();
    assert!(text.contains(CANARIES[13]) && text.contains(CANARIES[6]), "{text}");

    let bodies = {
        let preview = site.run(&["stats", "preview"]);
        let bodies = hub.wait_for_reports("site-one", 1, ONE_WINDOW);
        wait::until_true(LIMIT, "the receipt", || !site.ledger_entries("receipt").is_empty());
        assert_clean("stats preview", (preview.stdout + &preview.stderr).as_bytes());
        bodies
    };
    for body in &bodies {
        assert_clean("the report", body.as_bytes());
    }
    for arguments in
        [&["status", "--json"][..], &["status"], &["sent", "list"], &["sent", "list", "--json"], &["sent", "verify"]]
    {
        let told = site.run(arguments);
        assert_clean(&arguments.join(" "), (told.stdout + &told.stderr).as_bytes());
    }
    assert_clean("the ledger", &fs::read(site.ledger()).unwrap());
    assert_clean("the hub's answer", hub.show("site-one").as_bytes());
    hub.stop();
    site.stop();
    assert_clean("the agent's log", site.log().as_bytes());
    assert_clean("the hub's log", hub.log().as_bytes());
    for file in files_below(&hub.home()) {
        assert_clean(&file.display().to_string(), &fs::read(&file).unwrap());
    }
    for directory in ["outbox", "link", "site"] {
        for file in files_below(&site.state().join(directory)) {
            assert_clean(&file.display().to_string(), &fs::read(&file).unwrap());
        }
    }
}

fn assert_clean(place: &str, bytes: &[u8]) {
    let traces = CANARIES.iter().fold(Traces::default(), |traces, value| traces.of(value));
    let found = traces.found_in(place, bytes);
    assert!(found.is_empty(), "{found:#?}");
}
