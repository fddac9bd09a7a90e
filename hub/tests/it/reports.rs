//! Reports: stored once, exactly as received, or refused for a reason.

use data_encoding::HEXLOWER;
use demarc_proto::{
    Report, ToAgent,
    message::{Refused, RefusedReason},
};
use sha2::{Digest, Sha256};
use sqlx::Connection;

use crate::{
    agent::{Tunnel, enroll, report, upload},
    hub::{Hub, succeed},
};

#[tokio::test]
async fn a_report_is_stored_as_it_is_and_signed_for() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let mut tunnel = Tunnel::open(&hub, &site).await;
    let (first, second) = (report(1, 12), report(2, 40));
    for report in [&second, &first] {
        let body = report.to_body();
        let Some(ToAgent::Receipt(receipt)) = tunnel.ask(&upload("site-one", &body)).await else {
            panic!("no receipt")
        };
        receipt.verify(&site.receipt_key).unwrap();
        assert!(receipt.covers(body.as_bytes()));
        assert_eq!(receipt.sha256, HEXLOWER.encode(&Sha256::digest(&body)));
        assert_eq!((receipt.site.as_str(), receipt.report), ("site-one", report.id));
    }
    // The same bytes, padding and all, the older window first.
    let exact = |report: &Report| report.to_body();
    assert_eq!(
        hub.show("site-one"),
        format!("{{\"site\":\"site-one\",\"reports\":[{},{}]}}\n", exact(&first), exact(&second))
    );
    let table = succeed(&mut hub.command(&["show", "site-one"]));
    for words in ["2026-11-22T", "1m; 12 calls, groups of at least 10", "whole window: all", "0 s and more"] {
        assert!(table.contains(words), "{words:?} is not in {table}");
    }
    let other = enroll(&hub, "site-two").await;
    drop(other);
    assert_eq!(hub.show("site-two"), "{\"site\":\"site-two\",\"reports\":[]}\n");
}

#[tokio::test]
async fn the_same_bytes_again_get_the_same_receipt() {
    let mut hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let body = report(1, 12).to_body();
    let first = Tunnel::open(&hub, &site).await.ask(&upload("site-one", &body)).await;
    assert!(matches!(first, Some(ToAgent::Receipt(_))));
    // Across a crash of the hub, and a second later.
    hub.signal(libc::SIGKILL);
    hub.wait();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    hub.serve();
    let mut tunnel = Tunnel::open(&hub, &site).await;
    assert_eq!(tunnel.ask(&upload("site-one", &body)).await, first);
    assert_eq!(tunnel.ask(&upload("site-one", &body)).await, first);
    assert_eq!(hub.reports("site-one"), 1);
    // Other bytes under that name never replace the first.
    let conflict = tunnel.ask(&upload("site-one", &report(1, 13).to_body())).await;
    let expected = Refused { report: Some(report(1, 12).id), reason: RefusedReason::Conflict };
    assert_eq!(conflict, Some(ToAgent::Refused(expected)));
    assert!(hub.show("site-one").contains("\"calls\":12"));
}

#[tokio::test]
async fn two_sites_may_use_the_same_name_for_a_report() {
    let hub = Hub::start();
    for name in ["site-one", "site-two"] {
        let site = enroll(&hub, name).await;
        let answer = Tunnel::open(&hub, &site).await.ask(&upload(name, &report(1, 12).to_body())).await;
        assert!(matches!(answer, Some(ToAgent::Receipt(_))));
        assert_eq!(hub.reports(name), 1);
    }
}

#[tokio::test]
async fn what_should_not_have_left_is_refused_and_not_kept() {
    let hub = Hub::start_with("[reports]\nmin_floor = 5\n");
    let site = enroll(&hub, "site-one").await;
    enroll(&hub, "site-two").await;
    let mut tunnel = Tunnel::open(&hub, &site).await;
    let edited = |edit: fn(&mut Report)| {
        let mut report = report(1, 12);
        edit(&mut report);
        report.to_body()
    };
    let smuggled = edited(|_| {}).replacen("\"floor\":10", "\"floor\":10,\"note\":5551234567", 1);
    let spaced = edited(|_| {}).replacen(" ", "\t", 1);
    let name = Some(report(1, 12).id);
    let cases = [
        ("site-two", edited(|_| {}), name, RefusedReason::OtherSite),
        ("site-one", edited(|r| r.volume[0].calls = 9), name, RefusedReason::Floor),
        ("site-one", edited(|r| r.floor = 4), name, RefusedReason::Floor),
        ("site-one", edited(|r| r.schema = 2), name, RefusedReason::Schema),
        ("site-one", edited(|r| r.window.start += 1), name, RefusedReason::Schema),
        ("site-one", edited(|r| r.talk[0].calls = 13), name, RefusedReason::Schema),
        ("site-one", edited(|r| r.wait.clear()), name, RefusedReason::Schema),
        ("site-one", smuggled, None, RefusedReason::Schema),
        ("site-one", spaced, None, RefusedReason::Schema),
        ("site-one", "5551234567".into(), None, RefusedReason::Schema),
        ("site-one", String::new(), None, RefusedReason::Schema),
    ];
    for (site, body, report, reason) in cases {
        let answer = tunnel.ask(&upload(site, &body)).await;
        assert_eq!(answer, Some(ToAgent::Refused(Refused { report, reason })), "{}", body.trim());
    }
    // The tunnel is still good, and nothing of all this was kept or logged.
    assert!(matches!(tunnel.ask(&upload("site-one", &report(2, 12).to_body())).await, Some(ToAgent::Receipt(_))));
    assert_eq!((hub.reports("site-one"), hub.reports("site-two")), (1, 0));
    hub.says("refused a report").await;
    assert!(!hub.log().contains("5551234567"));
}

#[tokio::test]
async fn the_longest_report_fits() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let mut long = report(1, 12);
    // A week of single hours, each with every cell in a group of its own.
    long.window = demarc_proto::Window { start: 1_794_614_400 - 1_794_614_400 % 604_800, seconds: 604_800 };
    long.volume = (0..168)
        .flat_map(|from_hour| {
            demarc_proto::Cell::all().map(move |cell| demarc_proto::report::VolumeGroup {
                from_hour,
                hours: 1,
                cells: vec![cell],
                calls: 10,
            })
        })
        .collect();
    let calls = 168 * 21 * 10;
    long.talk[0].calls = calls;
    long.wait[0].calls = calls;
    long.destination[0].calls = calls;
    let body = long.to_body();
    let mut tunnel = Tunnel::open(&hub, &site).await;
    let answer = tunnel.ask(&upload("site-one", &body)).await;
    // Whether schema 1 has room for it or not, the answer says so and the tunnel lives.
    if body.len() <= demarc_proto::report::MAX_BODY {
        assert!(matches!(answer, Some(ToAgent::Receipt(_))), "{answer:?}");
    } else {
        assert!(matches!(answer, Some(ToAgent::Refused(_))), "{answer:?}");
    }
    assert!(matches!(tunnel.ask(&upload("site-one", &report(2, 12).to_body())).await, Some(ToAgent::Receipt(_))));
}

#[tokio::test]
async fn a_database_that_takes_nothing_gets_no_receipt_and_loses_nothing() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let mut tunnel = Tunnel::open(&hub, &site).await;
    // Who holds the write lock stands for every database that cannot write, such as one on a full disk.
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", hub.path().join("data/hub.db").display());
    let mut lock = sqlx::AnyConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    let upload = upload("site-one", &report(1, 12).to_body());
    assert_eq!(tunnel.ask(&upload).await, None);
    tunnel.closed().await;
    hub.says("the site keeps it").await;
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    assert_eq!(hub.reports("site-one"), 0);
    let answer = Tunnel::open(&hub, &site).await.ask(&upload).await;
    assert!(matches!(answer, Some(ToAgent::Receipt(_))));
}
