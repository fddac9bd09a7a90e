//! What is done once everything is answered, and what came of it.

use std::{
    collections::BTreeMap,
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::Context;
use serde::Serialize;

use super::{
    SetupArgs,
    screen::{self, Screen, masked},
};
use crate::{
    detect::PbxKind,
    settings::{Secret, SupportMode, load},
    setup::{
        answers::Vendor,
        database::NewUser,
        draft::Draft,
        findings::Findings,
        question::QUESTIONS,
        reach::Reach,
        sample::Sample,
        service::{self, Restart, Service},
    },
    state::{Site, StateDir},
};

/// What came of it, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct Outcome {
    config: PathBuf,
    pub(super) dry_run: bool,
    /// Whether the config file was written.
    written: bool,
    /// The config file that would be written, with passwords left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    pbx: Option<&'static str>,
    /// The sources that the config file names.
    sources: Vec<String>,
    trunks: Vec<String>,
    answers: BTreeMap<&'static str, bool>,
    sample: Sample,
    /// The vendor's name for this site.
    site: Option<String>,
    hub: Option<String>,
    /// Why the site was not enrolled although it was to be.
    enrollment_error: Option<String>,
    /// `started`, `reloaded`, `restarted`, `by-hand`; absent where nothing was to be started.
    service: Option<&'static str>,
    /// What is left to do, in words.
    to_do: Vec<String>,
    #[serde(skip)]
    pub(super) vendor: Vendor,
}

impl Outcome {
    pub(super) fn new(
        config: &Path,
        findings: &Findings,
        choices: [bool; 4],
        sample: Sample,
        site: Option<&Site>,
    ) -> Self {
        Self {
            config: config.to_owned(),
            dry_run: false,
            written: false,
            text: None,
            pbx: findings.kind.map(PbxKind::as_str),
            sources: Vec::new(),
            trunks: Vec::new(),
            answers: QUESTIONS.iter().map(|question| question.key).zip(choices).collect(),
            sample,
            site: site.map(|site| site.site.to_string()),
            hub: site.map(|site| site.hub.clone()),
            enrollment_error: None,
            service: None,
            to_do: findings.advice(),
            vendor: Vendor::None,
        }
    }

    /// Says what would be done.
    pub(super) fn would_do(&mut self, draft: &Draft, user: Option<&NewUser>, args: &SetupArgs, screen: &Screen) {
        self.note_settings(draft);
        self.text = Some(masked(&draft.text));
        let mut steps = Vec::new();
        if draft.changes() {
            steps.push(format!("write {}", self.config.display()));
        }
        if let Some(user) = user {
            let statements = user.statements(false).join("\n      ");
            let who = if args.create_db_user { "make a database user" } else { "ask you to make a database user" };
            steps.push(format!("{who}:\n      {statements}"));
        }
        if let Vendor::Token(_) = self.vendor {
            steps.push("enroll this site by the token".to_owned());
        }
        if let Ok(loaded) = load::load_text(&self.config, &draft.text, std::iter::empty()) {
            let reach = Reach::of(&loaded.settings, service::unit_of(&self.config).as_deref());
            steps.extend(reach.plan());
            self.to_do.extend(reach.left);
        }
        if !args.no_start {
            steps.push(match service::has_unit(&self.config) {
                true => "have systemd start demarc: systemctl enable --now demarc.service".to_owned(),
                false => format!("leave the start to you: {}", self.start_line()),
            });
        }
        let steps: String = steps.iter().map(|step| format!("  - {step}\n")).collect();
        screen.say(&format!("\ndemarc setup would\n{steps}Nothing was changed.\n"));
    }

    /// Does it, in the order in which a failure leaves least behind.
    pub(super) fn do_it(
        &mut self,
        draft: &Draft,
        user: Option<&NewUser>,
        args: &SetupArgs,
        screen: &Screen,
    ) -> anyhow::Result<()> {
        self.written = draft.write()?;
        if self.written {
            screen.say(&format!("\nWritten: {}\n", self.config.display()));
        }
        self.note_settings(draft);
        if let Some(user) = user {
            self.make_user(user, args.create_db_user, screen);
        }
        // With what the environment says, too: the daemon and its commands go by both.
        let settings = load::load(&self.config)?.settings;
        let state = StateDir::new(&settings.state_dir);
        if let Vendor::Token(token) = self.vendor.clone() {
            self.enroll(&token, screen)?;
            if let Some(site) = Site::load(&state)? {
                (self.site, self.hub) = (Some(site.site.to_string()), Some(site.hub));
            }
        }
        let reach = Reach::of(&settings, service::unit_of(&self.config).as_deref());
        self.to_do.extend(reach.open(&mut |words| screen.say(&format!("{words}\n"))));
        if settings.updates.via_tunnel {
            let what =
                "for updates: tell the package manager of the vendor's repository and its key, as docs/updates.md says";
            self.to_do.push(what.to_owned());
        }
        if self.site.is_none() && self.enrollment_error.is_none() {
            screen.say("No vendor: nothing leaves. demarc enroll TOKEN connects this site whenever you like.\n");
        }
        if !args.no_start {
            self.start(&state, !reach.hidden.is_empty(), screen)?;
        }
        Ok(())
    }

    fn note_settings(&mut self, draft: &Draft) {
        // The draft was made of a text that loads.
        if let Ok(loaded) = load::load_text(&self.config, &draft.text, std::iter::empty()) {
            self.sources = loaded.settings.pbx.source.iter().map(|source| source.name()).collect();
            self.trunks = loaded.settings.pbx.trunks;
            if loaded.settings.support.mode == SupportMode::Ask && loaded.settings.support.authorities.is_empty() {
                self.to_do.push(
                    "for support sessions: put the public key of your vendor's support authority into support.authorities"
                        .to_owned(),
                );
            }
        }
    }

    fn make_user(&mut self, user: &NewUser, now: bool, screen: &Screen) {
        let trouble = if now { user.create().err() } else { None };
        match (now, trouble) {
            (true, None) => screen.say("The database user was made: it may read call records and nothing else.\n"),
            (_, trouble) => {
                if let Some(trouble) = trouble {
                    screen.say(&format!("{trouble:#}.\n"));
                }
                let statements = user.statements(true).join("\n    ");
                self.to_do.insert(0, format!("make the database user, as root in mysql:\n    {statements}"));
            }
        }
    }

    /// A program of its own does it: it gives up root's rights for good before it writes.
    fn enroll(&mut self, token: &Secret, screen: &Screen) -> anyhow::Result<()> {
        let mut child = self.own_command()?;
        let mut child = child
            .args(["enroll", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("demarc enroll cannot be run")?;
        let mut input = child.stdin.take().context("demarc enroll has no input")?;
        input.write_all(token.expose().as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        screen.say(&format!("\n{}", String::from_utf8_lossy(&output.stdout)));
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("demarc: ").to_owned();
            screen.say(&format!("{error}\n"));
            self.to_do.insert(0, "enroll once that is mended: demarc enroll TOKEN".to_owned());
            self.enrollment_error = Some(error);
        }
        Ok(())
    }

    /// `sees_more`: the unit shows more than when a daemon that runs was started.
    fn start(&mut self, state: &StateDir, sees_more: bool, screen: &Screen) -> anyhow::Result<()> {
        self.service = Some(match service::bring_up(&self.config, state)? {
            Service::Reloaded(notices, waits) if waits.is_empty() && !sees_more => {
                notices.iter().for_each(|notice| screen.say(&format!("{notice}\n")));
                "reloaded"
            }
            Service::Reloaded(notices, _) => match service::restart(&self.config, state)? {
                Restart::Done => {
                    screen.say(
                        "demarc was restarted: a running one cannot be given more rights. No call is lost by that.\n",
                    );
                    "restarted"
                }
                Restart::Left(why) => {
                    notices.iter().for_each(|notice| screen.say(&format!("{notice}\n")));
                    self.to_do.insert(0, format!("restart demarc ({why}): {}", service::restart_line(&self.config)));
                    "reloaded"
                }
            },
            Service::Started => "started",
            Service::ByHand => {
                self.to_do.insert(0, format!("start demarc: {}", self.start_line()));
                "by-hand"
            }
        });
        Ok(())
    }

    fn own_command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("--config").arg(&self.config);
        Ok(command)
    }

    fn start_line(&self) -> String {
        format!("demarc --config {} run", self.config.display())
    }

    /// Ends with the screen of `demarc status`, or with JSON.
    pub(super) fn close(&self, json: bool, screen: &Screen) -> anyhow::Result<ExitCode> {
        if !self.to_do.is_empty() {
            let lines: String = self.to_do.iter().map(|what| format!("  - {what}\n")).collect();
            screen.say(&format!("\nLeft for you to do:\n{lines}"));
        }
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else if !self.dry_run {
            screen::print("\n");
            self.own_command()?.arg("status").stdin(Stdio::null()).status().context("demarc status cannot be run")?;
        }
        Ok(if self.enrollment_error.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
